# SPDX-License-Identifier: Apache-2.0
"""Load a trained model and its processor from a folder or the Hub onto an available device.

Imports torch and transformers only when something is loaded, so that a missing model is reported at once.
"""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Any

from mser_llm.inference.model_types import MODEL_TYPES, ModelType, find_model_type, model_type_of
from mser_llm.io.errors import InputError


# OWNER/NAME or NAME, as on the Hub; a path with more slashes or a leading dot can only be a folder.
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
# Bounds of the search for models to suggest.
_SEARCH_DEPTH = 3
_MAX_SEARCHED = 500
_SHOWN = 3


class ModelNotFoundError(InputError):
    """There is no model, or something other than a model."""


def pick_device(device: str = "auto") -> str:
    """Return `device`; `auto` is the first CUDA device, else Apple's GPU, else the CPU.

    Raises:
        InputError: torch knows no such device, or this machine has none.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    fix = "pass auto, cpu, cuda or cuda:0"
    if device.partition(":")[0] == "meta":
        raise InputError(f"device {device!r}", "has no data to compute with", fix)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"device {device!r}", f"cannot be used ({reason})", fix) from None
    return device


def load_model(
    model: str, device: str = "auto", prompt: str | None = None, quantize: str | None = None
) -> tuple[Any, Any]:
    """Return `(network, processor)`, the network in evaluation mode.

    Args:
        model: a folder written by `save_pretrained` or a training, or a Hub id.
        device: as in `pick_device`.
        prompt: version of the prompt template; by default that of the training.
        quantize: as in `load_network`.

    Raises:
        ModelNotFoundError: the folder is missing or contains no model of this project.
        InputError: an unknown device or prompt version, or a quantization for another device.
        ImportError: the library of the quantization is not installed.
    """
    place, device = find_model(model), pick_device(device)
    processor = load_processor(place, prompt)
    return load_network(place, device, quantize), processor


def find_model(model: str) -> str:
    """Return the path of a folder that contains a model, or a Hub id, which is not checked.

    Raises:
        ModelNotFoundError: the folder is missing or contains no model of this project.
    """
    path = Path(model).expanduser()
    if path.exists():
        _check_folder(path)
        return str(path)
    if not _HUB_ID.fullmatch(model):
        raise ModelNotFoundError(model, "no such folder", suggest_model(model))
    return model


def load_processor(model: str, prompt: str | None = None) -> Any:
    """Return the processor of a model; the arguments are those of `load_model`."""
    from processing_mser.processing_mser import PROMPTS

    place = find_model(model)
    if prompt is not None and prompt not in PROMPTS:
        raise InputError(f"prompt {prompt!r}", "is unknown", f"choose from {', '.join(PROMPTS)}")
    with _loading_errors(place) as options:
        processor = _model_type(place, options).processor.from_pretrained(place, **options)
    if prompt is None:
        return processor
    if processor.prompt_version is None:
        raise InputError(place, "is a classifier, which has no prompt", "leave the prompt out")
    return processor.with_prompt(prompt)


def load_config(model: str) -> Any:
    """Return the configuration of a model, without loading its weights."""
    place = find_model(model)
    with _loading_errors(place) as options:
        return _model_type(place, options).network.config_class.from_pretrained(place, **options)


def load_network(model: str, device: str = "auto", quantize: str | None = None) -> Any:
    """Return the network of a model in evaluation mode. On a CPU, its linear layers are packed for recognition.

    Args:
        quantize: `int8` for the linear layers of encoder and language model (CPU), `4bit` for those of the language
            model (CUDA, the extra `quantization`); None keeps the weights.
    """
    from mser_llm.inference.packing import pack_linear_layers
    from mser_llm.inference.quantization import check_quantization, four_bit_loading, quantize_to_int8

    place, device = find_model(model), pick_device(device)
    if quantize is not None:
        check_quantization(quantize, device)
    with _loading_errors(place) as options, _progress_on_terminals_only():
        model_type = _model_type(place, options)
        if quantize == "4bit":
            if not model_type.has_language_model:
                raise InputError(place, "is a classifier without a language model", "leave --quantize 4bit out")
            return model_type.network.from_pretrained(place, **options, **four_bit_loading(device)).eval()
        network = model_type.network.from_pretrained(place, **options).eval().to(device)
    if quantize == "int8":
        quantize_to_int8(network)
    if device == "cpu":
        pack_linear_layers(network)
    return network


def suggest_model(named: str | None = None, base: str | os.PathLike | None = None) -> str:
    """Return what to pass instead of a missing model, as the fix of an error.

    Args:
        named: what was passed as a model; None if nothing was.
        base: the folder to search for models; by default `runs` and the nearest existing folder above `named`.
    """
    found = list(dict.fromkeys(str(path) for folder in _search_bases(named, base) for path in _models(folder)))
    near = difflib.get_close_matches(str(Path(named)), found, n=1) if named else []
    if near or (base is not None and len(found) == 1):
        return f"did you mean {(near or found)[0]}?"
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return f"pass one of the trained models here, {', '.join(found[:_SHOWN])}{more}, or an id on the Hub"
    return (
        "pass the folder of a trained model or its id on the Hub; `run-mser demo` trains a small one, runs/demo/model"
    )


def _model_type(place: str, options: dict[str, Any]) -> ModelType:
    return find_model_type(model_type_of(place, **options))


@contextmanager
def _loading_errors(place: str) -> Iterator[dict[str, Any]]:
    """Yield the options of `from_pretrained`, and raise the errors of libraries as `ModelNotFoundError`."""
    from huggingface_hub.errors import StrictDataclassError

    from modeling_mser.backbones_mser import BackboneError, offline_options

    options = offline_options(place)
    try:
        yield options
    except OSError as error:
        if options:
            raise ModelNotFoundError(
                place,
                "no such folder, not in the cache, and the Hub cannot be reached",
                f"check the name and the network, or {suggest_model(place)}",
            ) from error
        reason = " ".join(str(error).split())
        raise ModelNotFoundError(
            place, f"cannot be loaded ({reason})", "pass a folder with a trained model"
        ) from error
    except (StrictDataclassError, ValueError) as error:
        # Errors of this project name the file; those of libraries do not.
        if isinstance(error, (BackboneError, ModelNotFoundError)) or place in str(error):
            raise
        reason = shorten(str(error), 300)
        raise ModelNotFoundError(
            place, f"cannot be loaded ({reason})", "fix the file, or copy or train the model again"
        ) from error


@contextmanager
def _progress_on_terminals_only() -> Iterator[None]:
    """Keep the progress bar of transformers out of log files and pipes."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _check_folder(path: Path) -> None:
    config = path / "config.json" if path.is_dir() else path
    if not path.is_dir() or not config.is_file():
        raise ModelNotFoundError(path, "contains no model (no config.json in a folder)", suggest_model(base=path))
    try:
        model_type = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError):
        raise ModelNotFoundError(config, "is not JSON", "copy or train the model again") from None
    if model_type not in MODEL_TYPES:
        problem = f"is the configuration of a model of type {model_type!r}"
        raise ModelNotFoundError(config, problem, f"pass a model of type {', '.join(MODEL_TYPES)}")


def _search_bases(named: str | None, base: str | os.PathLike | None) -> list[Path]:
    if base is not None:
        return [Path(base)]
    above = [] if named is None else [folder for folder in Path(named).expanduser().parents if folder.is_dir()][:1]
    return [Path("runs"), *(folder for folder in above if folder != Path("."))]


def _models(base: Path) -> list[Path]:
    """Return the folders with a model, sorted, including `base`; the checkpoints of trainings come last."""
    found = []
    for name, inner, _ in islice(os.walk(base, followlinks=True), _MAX_SEARCHED):
        folder = Path(name)
        deeper = len(folder.relative_to(base).parts) < _SEARCH_DEPTH
        inner[:] = sorted(one for one in inner if not one.startswith(".")) if deeper else []
        with suppress(OSError, ValueError, AttributeError):
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if config.get("model_type") in MODEL_TYPES:
                found.append(folder)
    return sorted(found, key=lambda folder: (folder.name.startswith("checkpoint-"), folder))
