# SPDX-License-Identifier: Apache-2.0
"""Train, evaluate and predict on human recordings with a real Whisper-base encoder.

A short form of `configs/base/joint.yaml`: English speech of twelve speakers, three epochs at a higher learning rate.
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
    flags = ["--output_dir", str(folder / "model"), "--cache_dir", str(folder / "cache")]
    flags += ["--num_train_epochs", "3", "--learning_rate", "6e-4", "--warmup_steps", "5"]
    assert main(["train", "base/joint", "--corpora", f"ravdess={folder / 'ravdess'}", *flags]) == 0
    return folder / "model"


def test_model_trained_on_english_recognizes_german(trained: Path, corpora_dir: Path, tmp_path: Path):
    # Five of the ten speakers, to halve the time.
    for clip in (corpora_dir.resolve() / "emodb" / "wav").iterdir():
        if clip.name[:2] in ("03", "08", "09", "10", "11"):
            (tmp_path / "emodb" / "wav").mkdir(parents=True, exist_ok=True)
            (tmp_path / "emodb" / "wav" / clip.name).symlink_to(clip)
    corpora = ["--corpora", f"emodb={tmp_path / 'emodb'}", "--labels", "four"]
    assert main(["evaluate", "--model", str(trained), *corpora, "--output_dir", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "results.json").read_text())["corpora"]["emodb"]
    assert metrics["n"] > 150 and metrics["dropped"] == 0 and metrics["supported_labels"] == 4
    assert metrics["UA"] >= 0.4, "chance is 0.25, with a standard error of 0.03"
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_checkpoint_leaves_out_the_frozen_encoder(trained: Path):
    config = json.loads((trained / "config.json").read_text())
    assert config["audio_backbone"].endswith("whisper-base-encoder")
    results = json.loads((trained / "train_results.json").read_text())
    size = (trained / "model.safetensors").stat().st_size
    assert size < 1.2 * 4 * results["parameters"]["total"]["trained"]
