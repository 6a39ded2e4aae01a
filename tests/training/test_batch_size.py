# SPDX-License-Identifier: Apache-2.0
"""`auto_find_batch_size` finds a batch that fits, and keeps weights and random numbers."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from warm_python import WarmPython

from mser_llm.data.clips import index_clips
from mser_llm.data.read_corpus import read_corpus
from mser_llm.inference.feature_cache import ClipFeatures, FeatureEncoder
from mser_llm.training.batch_size import resolve_batch_size
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from processing_mser import label_set


HERE = Path(__file__).parent
LABELS = label_set("neutral,happy,sad,angry")


@pytest.fixture
def parts(tones: Path, make_tiny, tmp_path: Path):
    model, processor = make_tiny()
    clips, _ = index_clips(read_corpus("folder", tones).rows, LABELS)
    features = ClipFeatures(FeatureEncoder(model, processor), str(tmp_path / "cache"), cache_gb=1)
    encoded = features.encoder.encodes
    return model, EmotionDataset(clips, features, LABELS), EmotionCollator(processor, encoded=encoded)


def test_batch_size_that_fits_is_kept(parts, recipe):
    *_, arguments = recipe("--auto_find_batch_size", "true", "--per_device_train_batch_size", "6")
    model, dataset, collator = parts
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    arguments = resolve_batch_size(arguments, model, dataset, collator)
    assert (arguments.per_device_train_batch_size, arguments.auto_find_batch_size) == (6, False)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())


def test_batch_size_is_halved_until_it_fits(parts, recipe, capsys: pytest.CaptureFixture[str]):
    *_, arguments = recipe("--auto_find_batch_size", "true", "--per_device_train_batch_size", "48")
    model, dataset, collator = parts
    sizes = []

    def run_out_of_memory(module, args, kwargs):
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 10:
            torch.empty(2**60)  # raises the real error of the allocator

    model.register_forward_pre_hook(run_out_of_memory, with_kwargs=True)
    arguments = resolve_batch_size(arguments, model, dataset, collator)
    assert sizes == [48, 24, 12, 6]
    assert arguments.per_device_train_batch_size == 6
    assert "Batch size: 6" in capsys.readouterr().out


def test_batch_size_must_fit_with_gradient_accumulation(parts, recipe):
    flags = ["--auto_find_batch_size", "true", "--per_device_train_batch_size", "8"]
    *_, arguments = recipe(*flags, "--gradient_accumulation_steps", "4")
    model, dataset, collator = parts
    held = []

    def run_out_of_memory(module, args, kwargs):
        held.append(any(parameter.grad is not None for parameter in module.parameters()))
        if held[-1] and len(kwargs["input_ids"]) > 4:
            torch.empty(2**60)

    model.register_forward_pre_hook(run_out_of_memory, with_kwargs=True)
    arguments = resolve_batch_size(arguments, model, dataset, collator)
    assert held == [False, True, False, True] and arguments.per_device_train_batch_size == 4
    assert all(value.grad is None for value in model.parameters())


def test_batch_size_trial_runs_the_training_step(parts, recipe):
    """With gradient checkpointing, and with the views that BYOL creates of each clip."""
    model, dataset, collator = parts
    flags = ["--auto_find_batch_size", "true", "--per_device_train_batch_size", "8"]
    *_, arguments = recipe(*flags, "--gradient_checkpointing", "true")
    arguments.objectives = {"byol": {"supervised_views": 2}}
    tried = []

    def noted(module, args, kwargs):
        layers = [layer for layer in module.language_model.modules() if hasattr(layer, "gradient_checkpointing")]
        tried.append((len(kwargs["input_ids"]), any(layer.gradient_checkpointing for layer in layers)))

    model.register_forward_pre_hook(noted, with_kwargs=True)
    arguments = resolve_batch_size(arguments, model, dataset, collator)
    assert tried == [(32, True)] and arguments.per_device_train_batch_size == 8


@pytest.mark.parametrize("message", ["could not create a primitive", "could not execute a primitive"])
def test_out_of_memory_includes_onednn_errors(parts, recipe, message: str):
    """The message is all that oneDNN gives; the thread that raised it fails at its next call too."""
    *_, arguments = recipe("--auto_find_batch_size", "true", "--per_device_train_batch_size", "8")
    model, dataset, collator = parts
    largest, failed_threads = 4, {threading.main_thread()}

    def run_out_of_memory(module, args, kwargs):
        assert threading.current_thread() not in failed_threads
        if len(kwargs["input_ids"]) > largest:
            failed_threads.add(threading.current_thread())
            raise RuntimeError(message)

    model.register_forward_pre_hook(run_out_of_memory, with_kwargs=True)
    arguments = resolve_batch_size(arguments, model, dataset, collator)
    assert arguments.per_device_train_batch_size == 4
    largest = 0
    *_, arguments = recipe("--auto_find_batch_size", "true")
    with pytest.raises(ValueError, match="auto_find_batch_size") as raised:
        resolve_batch_size(arguments, model, dataset, collator)
    assert str(raised.value.__cause__) == message


def test_out_of_memory_excludes_other_errors(parts, recipe):
    *_, arguments = recipe("--auto_find_batch_size", "true")
    model, dataset, collator = parts

    def broken(module, args, kwargs):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    model.register_forward_pre_hook(broken, with_kwargs=True)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        resolve_batch_size(arguments, model, dataset, collator)


def test_batch_size_search_rejects_fixed_batches(parts, recipe):
    *_, arguments = recipe("--auto_find_batch_size", "true", "--balance", "speaker")
    with pytest.raises(ValueError, match="balance speaker"):
        resolve_batch_size(arguments, *parts)


@pytest.fixture
def frugal_python() -> Iterator[WarmPython]:
    """A Python that returns freed memory to the system at once."""
    with WarmPython({"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}) as python:
        yield python


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_training_out_of_memory_equals_a_smaller_batch(frugal_python: WarmPython, tones: Path, tmp_path: Path):
    """Batches of 8192 need gigabytes. The batch size found is used, recorded and kept on resuming."""

    def run(folder: str, *flags: str, megabytes: int = 10**6) -> subprocess.CompletedProcess:
        words = [megabytes, "train", HERE.parent / "recipe.yaml", "--corpora", f"folder={tones}", "--max_steps", "3"]
        words += ["--save_strategy", "steps", "--save_steps", "1", "--load_best_model_at_end", "false"]
        words += ["--eval_strategy", "no", "--output_dir", tmp_path / folder, "--cache_dir", tmp_path / "cache"]
        return frugal_python.run(HERE / "out_of_memory.py", *words, *flags)

    found = run("found", "--auto_find_batch_size", "true", "--per_device_train_batch_size", "8192", megabytes=300)
    assert found.returncode == 0, found.stderr
    size = json.loads((tmp_path / "found" / "run.json").read_text())["per_device_train_batch_size"]
    assert size < 8192
    assert f"Batch size: {size}" in found.stdout
    again = run("found", "--auto_find_batch_size", "true", "--per_device_train_batch_size", "8192")
    assert "already contains this run" in again.stdout, again.stderr
    plain = run("plain", "--per_device_train_batch_size", str(size))
    assert plain.returncode == 0, plain.stderr
    trained, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("found", "plain"))
    assert all(torch.equal(trained[name], value) for name, value in expected.items())
