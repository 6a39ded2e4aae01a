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
from mser_llm.training.batch_size import checkpoint_activations, resolve_batch_size
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from mser_llm.training.training_arguments import MSERTrainingArguments
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


@pytest.fixture
def tried(parts, recipe):
    """Return a function that resolves a batch size with a hook before each trial."""
    model, dataset, collator = parts

    def resolve(before, size: int, *flags: str, **settings):
        *_, arguments = recipe("--auto_find_batch_size", "true", "--per_device_train_batch_size", str(size), *flags)
        vars(arguments).update(settings)
        hook = model.register_forward_pre_hook(
            lambda module, _, given: before(module, len(given["input_ids"])), with_kwargs=True
        )
        try:
            return resolve_batch_size(arguments, model, dataset, collator).per_device_train_batch_size
        finally:
            hook.remove()
            assert all(value.grad is None for value in model.parameters())

    return resolve


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


def test_batch_size_is_halved_until_it_fits(tried, capsys: pytest.CaptureFixture[str]):
    sizes, held = [], []

    def run_out_of_memory(module, size):
        sizes.append(size)
        if size > 10:
            torch.empty(2**60)  # raises the real error of the allocator

    assert tried(run_out_of_memory, 48) == 6 and sizes == [48, 24, 12, 6]
    assert "Batch size: 6" in capsys.readouterr().out

    def run_out_of_memory_with_gradients(module, size):
        held.append(any(parameter.grad is not None for parameter in module.parameters()))
        if held[-1] and size > 4:
            torch.empty(2**60)

    assert tried(run_out_of_memory_with_gradients, 8, "--gradient_accumulation_steps", "4") == 4
    assert held == [False, True, False, True]


def test_batch_size_trial_runs_the_training_step(tried):
    """With gradient checkpointing, and with the views that BYOL creates of each clip."""
    seen = []

    def note(module, size):
        seen.append((size, any(getattr(one, "gradient_checkpointing", False) for one in module.modules())))

    byol = {"byol": {"supervised_views": 2}}
    assert tried(note, 8, "--gradient_checkpointing", "true", objectives=byol) == 8 and seen == [(32, True)]


class Checkpointed(torch.nn.Module):
    """A model that records calls of one method."""

    def __init__(self, name: str):
        super().__init__()
        self.calls: list[dict | None] = []
        setattr(self, name, self.calls.append)


@pytest.mark.parametrize("name", ["activation_checkpointing_enable", "gradient_checkpointing_enable"])
def test_activation_checkpointing_is_enabled_once_by_both_names(name: str, tmp_path: Path):
    """transformers before 5.23 has the second name only; later versions warn about it."""
    model, options = Checkpointed(name), {"use_reentrant": False}
    checkpoint_activations(model, MSERTrainingArguments(str(tmp_path)))
    assert model.calls == []
    asked = MSERTrainingArguments(str(tmp_path), gradient_checkpointing=True, gradient_checkpointing_kwargs=options)
    checkpoint_activations(model, asked)
    model.gradient_checkpointing = True
    checkpoint_activations(model, asked)
    assert model.calls == [options]


@pytest.mark.parametrize("message", ["could not create a primitive", "could not execute a primitive"])
def test_out_of_memory_includes_onednn_errors(tried, message: str):
    """The message is all that oneDNN gives; the thread that raised it fails at its next call too."""
    largest, failed_threads = 4, {threading.main_thread()}

    def run_out_of_memory(module, size):
        assert threading.current_thread() not in failed_threads
        if size > largest:
            failed_threads.add(threading.current_thread())
            raise RuntimeError(message)

    assert tried(run_out_of_memory, 8) == 4
    largest = 0
    with pytest.raises(ValueError, match="auto_find_batch_size") as raised:
        tried(run_out_of_memory, 8)
    assert str(raised.value.__cause__) == message


def test_out_of_memory_excludes_other_errors(tried):
    def broken(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        tried(broken, 8)


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
    """Batches of 2048 do not fit. The batch size found is used, recorded and kept on resuming."""

    def run(folder: str, *flags: str, megabytes: int = 10**6) -> subprocess.CompletedProcess:
        words = [megabytes, "train", HERE.parent / "recipe.yaml", "--corpora", f"folder={tones}", "--max_steps", "3"]
        words += ["--save_strategy", "steps", "--save_steps", "1", "--load_best_model_at_end", "false"]
        words += ["--eval_strategy", "no", "--output_dir", tmp_path / folder, "--cache_dir", tmp_path / "cache"]
        return frugal_python.run(HERE / "out_of_memory.py", *words, *flags)

    found = run("found", "--auto_find_batch_size", "true", "--per_device_train_batch_size", "2048", megabytes=150)
    assert found.returncode == 0, found.stderr
    size = json.loads((tmp_path / "found" / "run.json").read_text())["per_device_train_batch_size"]
    assert size < 2048
    assert f"Batch size: {size}" in found.stdout
    again = run("found", "--auto_find_batch_size", "true", "--per_device_train_batch_size", "2048")
    assert "already contains this run" in again.stdout, again.stderr
    plain = run("plain", "--per_device_train_batch_size", str(size))
    assert plain.returncode == 0, plain.stderr
    trained, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("found", "plain"))
    assert all(torch.equal(trained[name], value) for name, value in expected.items())
