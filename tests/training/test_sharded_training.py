# SPDX-License-Identifier: Apache-2.0
"""Compare FSDP over two gloo processes with data-parallel training."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from safetensors.torch import load_file
from warm_python import WarmPython

from mser_llm.inference.loading import load_model
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.fsdp import check_sharding, shards_weights


HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPT = HERE / "watched_training.py"
LAUNCH = ["--config_file", str(ROOT / "configs" / "accelerate" / "fsdp.yaml"), "--num_processes", "2"]
EPOCHS, STEPS_PER_EPOCH = 3, 5
RECIPE = {
    "labels": "neutral,happy,sad,angry",
    "stage": "joint",
    "validation_fraction": 0.3,
    "freeze_audio": True,
    "freeze_text": True,
    "num_query_tokens": 2,
    "encoder_layers": "weighted",
    "qformer_config": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "learning_rate": 0.01,
    "num_train_epochs": EPOCHS,
    "per_device_train_batch_size": 5,
    "per_device_eval_batch_size": 7,
    "use_cpu": True,
    # An objective with weights of its own, which FSDP does not shard.
    "objectives": {"margin_contrast": {}, "supervised_contrast": {"projection_size": 6}},
}


@pytest.fixture(scope="module")
def recipe_file(make_tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a recipe with frozen backbones, like the paper's."""
    folder = tmp_path_factory.mktemp("frozen")
    model, processor = make_tiny()
    for part, backbone, reads in (
        ("audio", model.audio_tower, processor.feature_extractor),
        ("text", model.language_model, processor.tokenizer),
    ):
        backbone.save_pretrained(folder / part)
        reads.save_pretrained(folder / part)
    backbones = {f"{part}_backbone": str(folder / part) for part in ("audio", "text")}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE | backbones | {"output_dir": "unset"}))
    return path


def training(recipe: Path, tones: Path, folder: Path, *flags: str) -> list[str]:
    """Return the arguments of `run-mser`."""
    words = ["train", str(recipe), "--corpora", f"folder={tones}", *flags]
    return [*words, "--output_dir", str(folder / "run"), "--cache_dir", str(folder / "cache")]


@pytest.fixture(scope="module")
def sharded(warm_python: WarmPython) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs `SCRIPT` in two processes with the variables of accelerate's launcher."""
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args([*LAUNCH, str(SCRIPT)]))
    return partial(warm_python.run_twice, SCRIPT, environment=prepare_multi_gpu_env(arguments))


@pytest.fixture(scope="module")
def uninterrupted(recipe_file: Path, tones: Path, sharded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    finished = sharded("never", folder, *training(recipe_file, tones, folder))
    assert finished.returncode == 0, finished.stderr
    return folder / "run"


def largest_difference(found: Path, expected: Path) -> float:
    one, other = load_file(found), load_file(expected)
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.slow
def test_fsdp_trains_to_the_weights_of_data_parallel(
    uninterrupted: Path, recipe_file: Path, tones: Path, warm_python: WarmPython, tmp_path: Path
):
    finished = warm_python.run_twice(ROOT / "run_mser.py", *training(recipe_file, tones, tmp_path))
    assert finished.returncode == 0, finished.stderr
    last, data_parallel = Path(f"checkpoint-{EPOCHS * STEPS_PER_EPOCH}", "model.safetensors"), tmp_path / "run"
    # Adam takes a full step even where the gradient is only rounding, e.g. of a bias before a softmax.
    assert largest_difference(uninterrupted / last, data_parallel / last) < 0.01
    found, expected = (
        json.loads((folder / "train_results.json").read_text())["log_history"]
        for folder in (uninterrupted, data_parallel)
    )
    metrics = {"loss", "loss_ce", "loss_margin_contrast", "grad_norm", "eval_loss", "eval_UA"}
    for one, other in zip(found, expected, strict=True):
        for name in metrics & other.keys():
            assert one[name] == pytest.approx(other[name], rel=1e-3)


@pytest.mark.slow
def test_fsdp_saves_a_model_like_any_other(uninterrupted: Path):
    trained = load_file(uninterrupted / "model.safetensors")
    assert trained and not [name for name in trained if name.startswith(("audio_tower", "language_model"))]
    state = json.loads((uninterrupted / f"checkpoint-{EPOCHS * STEPS_PER_EPOCH}" / "trainer_state.json").read_text())
    best = Path(state["best_model_checkpoint"], "model.safetensors")
    assert largest_difference(uninterrupted / "model.safetensors", best) == 0
    assert not list(uninterrupted.rglob("*fsdp*")), "the folder contains code of FSDP or the frozen model"
    model, _ = load_model(str(uninterrupted))
    assert type(model).__name__ == "MSERForEmotionGeneration"
    for name, value in trained.items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.mark.slow
def test_fsdp_resumes_to_the_same_result(uninterrupted: Path, sharded, recipe_file: Path, tones: Path, tmp_path: Path):
    words = training(recipe_file, tones, tmp_path)
    killed = sharded(f"step:{STEPS_PER_EPOCH + 2}", tmp_path, *words)
    assert killed.returncode != 0
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == [f"checkpoint-{STEPS_PER_EPOCH}"]
    resumed = sharded("never", tmp_path, *words)
    assert resumed.returncode == 0, resumed.stderr
    last = f"checkpoint-{EPOCHS * STEPS_PER_EPOCH}"
    for file in (f"{last}/model.safetensors", f"{last}/objectives.safetensors", "model.safetensors"):
        assert largest_difference(tmp_path / "run" / file, uninterrupted / file) == 0


@pytest.mark.slow
def test_fsdp_evaluates_and_saves_a_run_that_stopped_early(sharded, recipe_file: Path, tones: Path, tmp_path: Path):
    # Enough to change the weights, too little to change a prediction. Without a cache each process encodes its
    # own clips when it needs them.
    early = ("--early_stopping_patience", "1", "--learning_rate", "1e-5", "--cache_gb", "0")
    words = ["never", tmp_path, *training(recipe_file, tones, tmp_path, *early)]
    first = sharded(*words)
    assert first.returncode == 0, first.stderr
    run_folder = tmp_path / "run"
    results = json.loads((run_folder / "train_results.json").read_text())
    kept = (run_folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    (run_folder / "train_results.json").unlink()
    again = sharded(*words)
    assert again.returncode == 0, again.stderr
    assert results["log_history"][-1]["step"] < EPOCHS * STEPS_PER_EPOCH, "it did not stop early"
    assert largest_difference(run_folder / "model.safetensors", kept) == 0
    validation = json.loads((run_folder / "train_results.json").read_text())["validation"]
    assert validation["eval_UA"] == results["validation"]["eval_UA"]


@pytest.mark.parametrize(
    ("flags", "setting"),
    [
        (("--average_from", "0.3"), "average_from 0.3"),
        (("--auto_find_batch_size", "true"), "auto_find_batch_size"),
        ((), "model_type whisper_classifier"),
    ],
)
def test_fsdp_rejects_settings_that_need_the_complete_model(flags, setting, recipe, monkeypatch: pytest.MonkeyPatch):
    model, _, training = recipe(*flags)
    assert not shards_weights(training)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert shards_weights(training)
    with pytest.raises(InputError) as error:
        check_sharding(model, training)
    assert error.value.source == "fsdp_version", "accelerate's default is 1"
    monkeypatch.setenv("FSDP_VERSION", "2")
    if not flags:
        check_sharding(model, training)
        model = ModelArguments(model_type="whisper_classifier")
    with pytest.raises(InputError) as error:
        check_sharding(model, training)
    assert error.value.source == setting
