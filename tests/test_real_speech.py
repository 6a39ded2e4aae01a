# SPDX-License-Identifier: Apache-2.0
"""The command line over real recordings and a real Whisper-base encoder: probe, train, evaluate, predict.

Short of what `configs/base/joint.yaml` does, so as to take a minute: English speech of twelve people, six epochs.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from run_mser import main


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(corpora_dir: Path, backbones_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for actor in sorted(corpora_dir.resolve().glob("ravdess/Actor_*"))[:12]:
        shutil.copytree(actor, folder / "ravdess" / actor.name, copy_function=os.symlink)
    flags = ["--output_dir", str(folder / "model"), "--cache_dir", str(folder / "cache"), "--num_train_epochs", "6"]
    assert main(["train", "base/joint", "--corpora", f"ravdess={folder / 'ravdess'}", *flags]) == 0
    return folder / "model"


def test_german_is_recognised_by_a_model_that_heard_english_alone(trained: Path, corpora_dir: Path, tmp_path: Path):
    corpora = ["--corpora", f"emodb={corpora_dir / 'emodb'}", "--labels", "four"]
    assert main(["evaluate", "--model", str(trained), *corpora, "--output_dir", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "results.json").read_text())["corpora"]["emodb"]
    assert figures["n"] == 339 and figures["dropped"] == 0 and figures["supported_labels"] == 4
    assert figures["UA"] >= 0.4, "chance is 0.25, with a standard error of 0.02"
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_checkpoint_leaves_the_encoder_where_it_is(trained: Path):
    config = json.loads((trained / "config.json").read_text())
    assert config["audio_backbone"].endswith("whisper-base-encoder")
    results = json.loads((trained / "train_results.json").read_text())
    size = (trained / "model.safetensors").stat().st_size
    assert size < 1.2 * 4 * results["parameters"]["total"]["trained"]


def test_one_recording_is_answered_with_probabilities(trained: Path, corpora_dir: Path, capsys: pytest.CaptureFixture):
    clip = next((corpora_dir / "emodb" / "wav").glob("03a01W*"))
    assert main(["predict", str(clip), "--model", str(trained), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["scores"]) == {"neutral", "happy", "sad", "angry"}
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-5)
