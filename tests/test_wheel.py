# SPDX-License-Identifier: Apache-2.0
"""The installed wheel trains, predicts and pushes without a checkout."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fresh_installation import ROOT


pytestmark = pytest.mark.slow


def test_wheel_contains_recipes_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for recipe in (ROOT / "configs").rglob("*.yaml"):
        assert f"mser_llm/configs/{recipe.relative_to(ROOT / 'configs')}" in names
    for template in (ROOT / "mser_llm/evaluation" / "templates").rglob("*"):
        assert template.is_dir() or str(template.relative_to(ROOT)) in names
    top = {name.split("/")[0] for name in names}
    metadata = {name for name in top if name.endswith(".dist-info")}
    assert top - metadata == {"mser_llm", "modeling_mser", "processing_mser", "run_mser.py"}


def test_installed_project_trains_and_predicts_without_a_checkout(installed, ordinary_user, finished_demo):
    folder = ordinary_user.folder(ordinary_user.work / "predict")
    modules = "import os, run_mser, mser_llm.configs as configs; print(run_mser.__file__, configs.__path__, "
    modules += "os.access(run_mser.__file__, os.W_OK), os.access(os.path.dirname(run_mser.__file__), os.W_OK))"
    where = installed.run("python", "-c", modules, folder=folder)
    assert str(installed.bin.parent) in where and str(ROOT) not in where
    assert where.split()[-2:] == ["False", "False"] or not ordinary_user.unprivileged
    demo = finished_demo / "runs" / "demo"
    results = json.loads((demo / "results.json").read_text(encoding="utf-8"))
    assert results["corpora"]
    assert (demo / "report.html").stat().st_size > 0
    card = (demo / "model" / "README.md").read_text(encoding="utf-8")
    assert "stage2" not in card and "synthetic speech only" in card

    seconds = np.arange(2 * 16_000) / 16_000
    soundfile.write(folder / "a tone.wav", 0.3 * np.sin(2 * np.pi * 220 * seconds), 16_000)
    output = installed.run(
        "run-mser", "predict", "a tone.wav", "--model", str(demo / "model"), "--json", folder=folder
    )
    result = json.loads(output.splitlines()[-1])
    assert Path(result["file"]).name == "a tone.wav"
    assert result["label"] == max(result["scores"], key=result["scores"].get)
    assert sum(result["scores"].values()) == pytest.approx(1, abs=1e-3)


def test_ordinary_user_trains_and_pushes(installed, ordinary_user, finished_demo, loopback_hub):
    """Without root privileges, with a read-only package folder and a home on another file system."""
    if not ordinary_user.unprivileged:
        pytest.skip("only root can read the Python that runs the tests")
    demo = finished_demo / "runs" / "demo"
    owner = (demo / "model" / "config.json").stat().st_uid
    assert owner != 0
    assert ordinary_user.home.stat().st_dev != demo.stat().st_dev, "no other file system to test with"
    folder = ordinary_user.folder(ordinary_user.work / "own")
    corpora = ["--corpora", f"folder={demo / 'english'}"]
    training = ["train", "tiny/stage1", *corpora, "--output_dir", "runs/own", "--max_steps", "2", "--save_steps", "1"]
    training += ["--eval_steps", "1", "--eval_strategy", "steps", "--save_strategy", "steps"]
    installed.run("run-mser", *training, folder=folder)
    hub = loopback_hub.environment(ordinary_user.home / ".cache" / "huggingface", token="hf_owner")
    pushing = ["push", "--model", "runs/own", "--repo_id", "owner/ordinary"]
    installed.run("run-mser", *pushing, folder=folder, variables=hub)
    pushed = loopback_hub.repos["model", "owner/ordinary"].files
    assert {"model.safetensors", "config.json", "README.md"} <= set(pushed)
    assert {path.stat().st_uid for path in folder.rglob("*")} == {owner}
    assert list((ordinary_user.home / ".cache" / "mser-llm").rglob("*.store")), "features are cached at home"
    assert not [path for path in folder.rglob("*") if "unfinished" in path.name or path.name.startswith("partial")]
    assert not list(ordinary_user.temporary.iterdir())
