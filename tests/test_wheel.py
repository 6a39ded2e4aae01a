# SPDX-License-Identifier: Apache-2.0
"""The wheel, installed where there is no checkout, does the whole job from another folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile


ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def run(*command, **kwargs):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing left over from an earlier build in the checkout can get in."""
    folder = tmp_path_factory.mktemp("build")
    ignore = shutil.ignore_patterns(".git", ".venv*", "runs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder / "source", ignore=ignore)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder / "source")
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` folder of a fresh environment with the wheel in it.

    The dependencies are those of the environment that runs the tests, seen through a .pth file; the .pth files of that
    environment are not followed, so an editable install of the checkout there stays out of sight.
    """
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--ignore-installed", wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies_of_the_tests.pth").write_text("\n".join(sorted(dependencies)) + "\n", encoding="utf-8")
    return folder / "bin"


@pytest.fixture(scope="module")
def environment():
    """This process's environment without what would let the checkout in."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def test_the_wheel_holds_the_recipes_and_templates_under_their_own_names(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for recipe in (ROOT / "configs").rglob("*.yaml"):
        assert f"configs_mser/{recipe.relative_to(ROOT / 'configs')}" in names
    for template in (ROOT / "evaluation_mser" / "templates").rglob("*"):
        assert template.is_dir() or str(template.relative_to(ROOT)) in names
    top = {name.split("/")[0] for name in names}
    assert not top & {"configs", "tests", "docs", "benchmarks", "mser", "hub_cards"}


def test_the_installed_project_trains_and_predicts_from_another_folder(installed, environment, tmp_path):
    def job(*words):
        return run(*words, cwd=tmp_path, env=environment)

    where = job(
        installed / "python", "-c", "import run_mser, configs_mser; print(run_mser.__file__, configs_mser.__path__)"
    )
    assert str(installed.parent) in where
    assert str(ROOT) not in where

    job(installed / "run-mser", "demo", "--size", "small", "--output_dir", "runs/demo")
    results = json.loads((tmp_path / "runs/demo/results.json").read_text(encoding="utf-8"))
    assert results["corpora"]
    assert (tmp_path / "runs/demo/report.html").stat().st_size > 0

    seconds = np.arange(2 * 16_000) / 16_000
    soundfile.write(tmp_path / "a tone.wav", 0.3 * np.sin(2 * np.pi * 220 * seconds), 16_000)
    said = job(installed / "run-mser", "predict", "a tone.wav", "--model", "runs/demo/model", "--json")
    answer = json.loads(said.splitlines()[-1])
    assert Path(answer["file"]).name == "a tone.wav"
    assert answer["label"] == max(answer["scores"], key=answer["scores"].get)
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-3)
