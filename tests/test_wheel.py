# SPDX-License-Identifier: Apache-2.0
"""The wheel, installed where there is no checkout, does the whole job from another folder."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fresh_installation import ROOT


pytestmark = pytest.mark.slow


def test_the_wheel_holds_the_recipes_and_templates_under_their_own_names(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for recipe in (ROOT / "configs").rglob("*.yaml"):
        assert f"configs_mser/{recipe.relative_to(ROOT / 'configs')}" in names
    for template in (ROOT / "evaluation_mser" / "templates").rglob("*"):
        assert template.is_dir() or str(template.relative_to(ROOT)) in names
    top = {name.split("/")[0] for name in names}
    assert not top & {"configs", "tests", "docs", "benchmarks", "mser", "hub_cards"}


def test_the_installed_project_trains_and_predicts_from_another_folder(installed, finished_demo, tmp_path):
    modules = "import run_mser, configs_mser; print(run_mser.__file__, configs_mser.__path__)"
    where = installed.run("python", "-c", modules, folder=tmp_path)
    assert str(installed.bin.parent) in where
    assert str(ROOT) not in where

    demo = finished_demo / "runs" / "demo"
    results = json.loads((demo / "results.json").read_text(encoding="utf-8"))
    assert results["corpora"]
    assert (demo / "report.html").stat().st_size > 0
    card = (demo / "model" / "README.md").read_text(encoding="utf-8")
    assert "stage2" not in card and "synthetic speech only" in card

    seconds = np.arange(2 * 16_000) / 16_000
    soundfile.write(tmp_path / "a tone.wav", 0.3 * np.sin(2 * np.pi * 220 * seconds), 16_000)
    said = installed.run(
        "run-mser", "predict", "a tone.wav", "--model", str(demo / "model"), "--json", folder=tmp_path
    )
    answer = json.loads(said.splitlines()[-1])
    assert Path(answer["file"]).name == "a tone.wav"
    assert answer["label"] == max(answer["scores"], key=answer["scores"].get)
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-3)
