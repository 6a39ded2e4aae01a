# SPDX-License-Identifier: Apache-2.0
"""A rerun recognizes its own folder and overwrites no other."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.protocols.training_record import TrainingRecordError
from mser_llm.io.errors import InputError
from mser_llm.training.run_record import describe_run
from mser_llm.training.run_training import train


SHORT = ["--max_steps", "1", "--num_train_epochs", "1"]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("kept", ["checkpoints", "the model"])
def test_run_with_other_settings_overwrites_nothing(rows, recipe, tmp_path: Path, kept: str):
    train(rows, *recipe(*SHORT))
    before = weights(tmp_path / "run")
    if kept == "the model":
        for checkpoint in (tmp_path / "run").glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    with pytest.raises(InputError) as raised:
        train(rows, *recipe(*SHORT, "--seed", "1"))
    assert raised.value.source == str(tmp_path / "run") and "--no_resume" in raised.value.fix
    assert kept in raised.value.problem and raised.value.problem.endswith("(seed 42 -> 1)")
    # A setting of the earlier run alone is named too; the clips are the same and are not named.
    with pytest.raises(InputError) as raised:
        train(rows, *recipe(*SHORT, "--bf16", "--use_cpu", "--neftune_noise_alpha", "5"))
    assert raised.value.problem.endswith("(bf16 None -> True, neftune_noise_alpha None -> 5.0)")
    assert weights(tmp_path / "run") == before
    train(rows, *recipe(*SHORT, "--seed", "1", "--no_resume"))
    assert weights(tmp_path / "run") != before


def test_run_in_bf16_differs_from_float32(recipe, monkeypatch):
    def record() -> dict:
        return describe_run(*recipe(*SHORT), clips=[], num_processes=1)

    plain, named = record(), describe_run(*recipe(*SHORT, "--bf16", "--use_cpu"), clips=[], num_processes=1)
    assert named == plain | {"bf16": True}
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert record() == plain | {"mixed_precision": "bf16"}


def test_run_depends_on_the_languages_and_on_its_weights(rows, recipe, tmp_path: Path):
    """Languages balance the batches, so they matter even if the held-out speakers are the same."""
    results = train(rows, *recipe(*SHORT))
    before = weights(tmp_path / "run")
    others = [{**row, "language": {"en": "sv", "pl": "hu"}[row["language"]]} for row in rows]
    with pytest.raises(InputError) as raised:
        train(others, *recipe(*SHORT))
    assert raised.value.problem.endswith("(clips of other speakers, languages or splits)")
    assert train(rows, *recipe(*SHORT)) == json.loads(json.dumps(results)), "a finished run is not repeated"
    (tmp_path / "run" / "model.safetensors").unlink()
    train(rows, *recipe(*SHORT))
    assert weights(tmp_path / "run") == before


def test_run_ignores_logging_and_saving_settings(rows, recipe, tmp_path: Path):
    """A run that filled the disk resumes with fewer checkpoints kept."""
    run, first = tmp_path / "run", ["--max_steps", "24", "--save_total_limit", "9"]
    train(rows, *recipe(*first))
    before = weights(run)
    for name in ("model.safetensors", "train_results.json"):
        (run / name).unlink()
    shutil.rmtree(run / "checkpoint-24")
    other = [*first[:2], "--save_total_limit", "1", "--logging_steps", "3"]
    results = train(rows, *recipe(*other))
    assert weights(run) == before and len([*run.glob("checkpoint-*")]) <= 2
    assert train(rows, *recipe(*first)) == json.loads(json.dumps(results)), "a finished run is not repeated"


def test_run_does_not_overwrite_another_model(rows, recipe, tmp_path: Path, tiny_model_dir):
    shutil.copytree(tiny_model_dir, tmp_path / "run")
    (tmp_path / "run" / "train_results.json").write_text("{}")
    with pytest.raises(InputError) as raised:
        train(rows, *recipe(*SHORT))
    assert raised.value.source == str(tmp_path / "run") and "--output_dir" in raised.value.fix
    assert (tmp_path / "run" / "train_results.json").read_text() == "{}"


def test_damaged_record_of_a_previous_stage_names_the_file(rows, recipe, tmp_path: Path, tiny_model_dir):
    shutil.copytree(tiny_model_dir, tmp_path / "first")
    (tmp_path / "first" / "train_results.json").write_text('{"speakers": ["s')
    with pytest.raises(TrainingRecordError, match=r"first/train_results\.json"):
        train(rows, *recipe(*SHORT, "--init_from", str(tmp_path / "first")))


def test_stage_detects_a_retrained_previous_stage(rows, recipe, tmp_path: Path, first_stage: Path):
    first, second = (["--output_dir", str(tmp_path / name), *SHORT] for name in ("first", "second"))
    shutil.copytree(first_stage, tmp_path / "first")
    stage = [*second, "--init_from", str(tmp_path / "first")]
    train(rows, *recipe(*stage))
    before = weights(tmp_path / "second")
    train(rows, *recipe(*stage))  # unchanged
    assert weights(tmp_path / "second") == before
    train(rows, *recipe(*first, "--seed", "1", "--no_resume"))
    with pytest.raises(InputError) as raised:
        train(rows, *recipe(*stage))
    assert raised.value.source == str(tmp_path / "second") and raised.value.problem.endswith("trained again)")
    with pytest.raises(InputError) as raised:
        train(rows, *recipe(*first, "--init_from", f"{tmp_path}/second/../first"))
    assert raised.value.source == "output_dir, init_from"


def test_init_from_variable_keeps_the_speakers(rows, recipe, tmp_path: Path, monkeypatch, first_stage: Path):
    monkeypatch.setenv("EARLIER", str(first_stage.parent))
    first_speakers = json.loads((first_stage / "train_results.json").read_text())["data"]["heard"]["speakers"]
    stage = ["--output_dir", str(tmp_path / "second"), *SHORT, "--init_from", "${EARLIER}/first"]
    results = train(rows[:24], *recipe(*stage, "--validation_fraction", "0", "--average_from", "0.3"))
    assert set(first_speakers) <= set(results["data"]["heard"]["speakers"])
    with pytest.raises(SpeakerLeakError, match="speakers"):
        train(rows, *recipe(*stage, "--split_seed", "4", "--no_resume"))


@pytest.mark.skipif(find_spec("comet_ml") is not None, reason="it is installed")
def test_missing_reporter_is_rejected_before_reading(recipe):
    with pytest.raises(InputError, match="comet_ml"):
        train([], *recipe("--report_to", "comet_ml"))


@pytest.mark.parametrize("origin", ["flag", "accelerate"])
def test_train_rejects_fp16_on_cpu(recipe, origin, monkeypatch):
    if origin == "accelerate":
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(InputError) as raised:
        train([], *recipe("--use_cpu", *(["--fp16"] if origin == "flag" else [])))
    assert raised.value.source == "fp16"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--gradient_accumulation_steps", "0"], "gradient_accumulation_steps is 0; pass at least 1"),
        (["--metric_for_best_model", "accuracy"], "metric_for_best_model"),
        (["--label_smoothing_factor", "0.1"], "label_smoothing_factor"),
    ],
)
def test_train_rejects_invalid_setting(recipe, capsys, flags, message):
    with pytest.raises(SystemExit):
        recipe(*flags)
    assert message in capsys.readouterr().err
