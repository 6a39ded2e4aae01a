# SPDX-License-Identifier: Apache-2.0
"""A saved folder loads where this project is not installed, gives the same scores, and can be saved again."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from modeling_mser import save_for_hub


SESSION = Path(__file__).with_name("remote_session.py")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal(40000)
    soundfile.write(tmp_path / "clip.wav", noise, 16000)
    return tmp_path / "clip.wav"


def test_the_folder_is_flat_whole_and_says_what_is_where(tiny, tmp_path: Path):
    save_for_hub(*tiny, tmp_path / "hub")
    files = {path.name for path in (tmp_path / "hub").iterdir()}
    assert not [path for path in (tmp_path / "hub").iterdir() if path.is_dir()]
    config = json.loads((tmp_path / "hub" / "config.json").read_text())
    autos = {"AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForAudioClassification", "AutoProcessor"}
    assert set(config["auto_map"]) == autos
    assert list(config["custom_pipelines"]) == ["audio-classification"]
    for reference in [*config["auto_map"].values(), config["custom_pipelines"]["audio-classification"]["impl"]]:
        module, name = reference.split(".")
        assert re.search(rf"^class {name}\b", (tmp_path / "hub" / f"{module}.py").read_text(), re.MULTILINE)
    for path in (tmp_path / "hub").glob("*.py"):
        for module in re.findall(r"^\s*from \.(\w+) import", path.read_text(), re.MULTILINE):
            assert f"{module}.py" in files, f"{path.name} imports {module}, which is left behind"
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    assert "augmentation_mser.py" not in files, "what only training needs stays at home"


@pytest.mark.slow
def test_it_loads_where_the_project_is_not_installed(tiny, clip, tmp_path: Path):
    model, processor = tiny
    save_for_hub(model, processor, tmp_path / "hub")
    words = model.config.emotion_words
    logits = model.score_emotions(**processor(audio=[clip]), candidate_ids=processor.candidate_ids(words))
    expected = dict(zip(words, logits[0].softmax(-1).tolist(), strict=True))
    done = subprocess.run(
        [sys.executable, "-I", str(SESSION), str(tmp_path / "hub"), str(clip), str(tmp_path / "out")],
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["classes"] == pytest.approx(expected, abs=1e-6)
    assert told["audio classification"] == pytest.approx(expected, abs=1e-6)
    assert told["causal"] == "MSERForEmotionGeneration"
    for name in ("pipeline", "task given", "pipeline saved again", "parts saved again"):
        ranked = told[name]
        assert {entry["label"]: entry["score"] for entry in ranked} == pytest.approx(expected, abs=1e-6), name
        assert [entry["label"] for entry in ranked] == sorted(expected, key=lambda word: -expected[word])
    assert {path.name for path in (tmp_path / "hub").iterdir()} == {
        path.name for path in (tmp_path / "out" / "parts").iterdir()
    }
