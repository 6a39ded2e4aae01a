# SPDX-License-Identifier: Apache-2.0
"""Train one model in two gloo processes under torchrun, and resume after a kill."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from free_port import free_port
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, recall_score
from warm_python import WarmPython

from mser_llm.data.clips import index_clips
from mser_llm.inference.feature_cache import ClipFeatures, FeatureEncoder
from mser_llm.inference.loading import load_model
from mser_llm.io.hashing import digest, file_sha256
from mser_llm.training.data.clip_selection import prepare_data
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from processing_mser import label_set


pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
SCRIPT = HERE / "watched_training.py"
LABELS = label_set("neutral,happy,sad,angry")
# 48 training clips in batches of 5 and 24 validation clips in batches of 7: the last batch is short, and one process
# has a batch fewer.
FLAGS = ["--per_device_train_batch_size", "5", "--per_device_eval_batch_size", "7", "--num_train_epochs", "12"]
STEPS = 60
STEPS_PER_EPOCH = 5
# Two objectives have weights of their own outside the data-parallel wrapper.
OBJECTIVES = """
objectives:
  margin_contrast: {}
  supervised_contrast: {cross_language_weight: 2.0, projection_size: 6}
  speaker_adversarial: {weight: 0.2, hidden_size: 8}
"""


def training(tones: Path, folder: Path, moment: str = "never") -> list[str]:
    """Return the arguments of `SCRIPT`."""
    recipe = folder / "recipe.yaml"
    recipe.write_text((HERE.parent / "recipe.yaml").read_text() + OBJECTIVES)
    words = [moment, str(folder), "train", str(recipe), "--corpora", f"folder={tones}", *FLAGS]
    return [*words, "--output_dir", str(folder / "run"), "--cache_dir", str(folder / "cache")]


def ranks(folder: Path) -> list[dict[str, torch.Tensor]]:
    return [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.fixture(scope="module")
def uninterrupted(tones: Path, shared_folder) -> Path:
    def train(folder: Path) -> None:
        launch = ["torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
        command = [sys.executable, "-m", *launch, str(SCRIPT), *training(tones, folder)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
        assert finished.returncode == 0, finished.stderr

    return shared_folder("two-processes", train)


def test_two_processes_end_with_the_same_weights_and_one_result(uninterrupted: Path, tones: Path):
    first, second = ranks(uninterrupted)
    assert {"supervised_contrast.projection.2.weight", "speaker_adversarial.classifier.0.bias"} < set(first)
    assert_equal(second, first)
    run = uninterrupted / "run"
    results = json.loads((run / "train_results.json").read_text())
    assert results["clips"] == {"train": 48, "validation": 24}
    assert json.loads((run / "run.json").read_text())["num_processes"] == 2
    state = json.loads((run / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    assert state["global_step"] == state["max_steps"] == STEPS
    for checkpoint in run.glob("checkpoint-*"):
        # Each process has its own random numbers, which an exact resume needs.
        states = {path.name for path in checkpoint.glob("rng_state*")}
        assert states == {"rng_state_0.safetensors", "rng_state_1.safetensors"}
    assert not list(run.glob("partial*"))
    best = load_file(Path(state["best_model_checkpoint"]) / "model.safetensors")
    assert_equal(load_file(run / "model.safetensors"), best)
    # Each clip is encoded once.
    content = b"".join(path.read_bytes() for path in (uninterrupted / "cache").rglob("*.store"))
    keys = [bytes.fromhex(digest(file_sha256(path))) for path in tones.glob("*.wav")]
    assert {content.count(key) for key in keys} == {1}


def test_two_processes_evaluate_each_clip_once(uninterrupted: Path, rows, recipe):
    """A short last batch is padded with clips already evaluated, which must not count twice."""
    validation = prepare_data(rows, recipe()[1]).validation
    model, processor = load_model(str(uninterrupted / "run"))
    features = ClipFeatures(FeatureEncoder(model, processor), str(uninterrupted / "cache"), cache_gb=1)
    dataset = EmotionDataset(validation, features, LABELS)
    batch = EmotionCollator(processor, encoded=False)([dataset[index] for index in range(len(dataset))])
    question = processor.encode_text(len(dataset))
    audio = {name: batch[name] for name in ("input_features", "input_features_mask")}
    scores = model.score_emotions(**question, **audio, candidate_ids=processor.candidate_ids(LABELS.words))
    truth, found = batch["emotion_labels"].numpy(), scores.argmax(-1).numpy()
    metrics = json.loads((uninterrupted / "run" / "train_results.json").read_text())["validation"]
    assert len(set(found)) > 1, "equal predictions would not show which clips were counted"
    assert metrics["eval_UA"] == pytest.approx(recall_score(truth, found, average="macro"), abs=1e-6)
    assert metrics["eval_WA"] == pytest.approx(accuracy_score(truth, found), abs=1e-6)


def test_late_process_encodes_its_share(rows, make_tiny, tmp_path: Path):
    """Clips that others have cached meanwhile must not change the shares."""
    model, processor = make_tiny()
    clips, _ = index_clips(rows, LABELS)
    for rank in (0, 1):
        ClipFeatures(FeatureEncoder(model, processor), str(tmp_path), 1).prepare(
            [(clip, 0) for clip in clips], rank, world_size=2
        )
    store = ClipFeatures(FeatureEncoder(model, processor), str(tmp_path), 1).store
    assert all(digest(clip.key) in store for clip in clips)


def test_two_processes_resume_after_a_kill(uninterrupted: Path, tones: Path, warm_python: WarmPython, tmp_path: Path):
    # In the second epoch, after a checkpoint.
    killed = warm_python.run_twice(SCRIPT, *training(tones, tmp_path, moment=f"step:{STEPS_PER_EPOCH + 2}"))
    assert killed.returncode != 0
    assert not (tmp_path / "run" / "train_results.json").exists()
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == [f"checkpoint-{STEPS_PER_EPOCH}"]
    resumed = warm_python.run_twice(SCRIPT, *training(tones, tmp_path))
    assert resumed.returncode == 0, resumed.stderr
    for found, expected in zip(ranks(tmp_path), ranks(uninterrupted), strict=True):
        assert_equal(found, expected)
    assert_equal(
        load_file(tmp_path / "run" / "model.safetensors"), load_file(uninterrupted / "run" / "model.safetensors")
    )
