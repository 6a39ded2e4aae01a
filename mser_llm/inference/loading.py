# SPDX-License-Identifier: Apache-2.0
"""A trained model with its processor, from a folder or the Hub, onto the device that is to be had."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from mser_llm.inference.model_types import MODEL_TYPES, ModelType, find_model_type, model_type_of
from mser_llm.inference.nearby_models import suggest_model


# OWNER/NAME or NAME, as the Hub has them; a path with more slashes or a leading dot can only be meant as a folder.
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class ModelNotFoundError(ValueError):
    """No model at the place that was named, or something else than a model."""


def pick_device(device: str = "auto") -> str:
    """`auto` is the first CUDA device, else Apple's, else the CPU; anything else is taken at its word.

    Raises:
        ValueError: torch knows no such device, or this machine has none.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if device.partition(":")[0] == "meta":
        raise ValueError(f"device {device!r} has no data to compute with; pass auto, cpu, cuda or cuda:0")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"device {device!r} cannot be used ({reason}); give auto, cpu, cuda or cuda:0") from None
    return device


def load_model(
    model: str, device: str = "auto", prompt: str | None = None, quantize: str | None = None
) -> tuple[Any, Any]:
    """`(model, processor)` in evaluation mode.

    Args:
        model: a folder written by `save_pretrained` or a training, or a Hub id.
        device: as in `pick_device`.
        prompt: version of the prompt template in place of the one that the model was trained with.
        quantize: as in `load_network`.

    Raises:
        ModelNotFoundError: the folder is missing or holds no MSER model.
        ValueError: an unknown device or prompt version, or a quantisation for another device.
        ImportError: the library of a quantisation is not installed.
    """
    place, device = find_model(model), pick_device(device)
    processor = load_processor(place, prompt)
    return load_network(place, device, quantize), processor


def find_model(model: str) -> str:
    """The folder, found to hold a model, or the Hub id, which is not asked for.

    Raises:
        ModelNotFoundError: the folder is missing or holds no MSER model.
    """
    path = Path(model).expanduser()
    if path.exists():
        _check_folder(path)
        return str(path)
    if not _HUB_ID.fullmatch(model):
        raise ModelNotFoundError(f"{model}: no such folder; {suggest_model(model)}")
    return model


def load_processor(model: str, prompt: str | None = None) -> Any:
    """The processor of a model, as `load_model` gives it."""
    from processing_mser.processing_mser import PROMPTS

    place = find_model(model)
    if prompt is not None and prompt not in PROMPTS:
        raise ValueError(f"prompt {prompt!r} is not known; choose from {', '.join(PROMPTS)}")
    with _told_in_one_line(place) as options:
        processor = _model_type(place, options).processor.from_pretrained(place, **options)
    if prompt is not None and processor.prompt_version is None:
        raise ValueError(f"{place}: is a classifier, which is asked nothing; leave the prompt out")
    if prompt is not None:
        processor = processor.with_prompt(prompt)
    return processor


def load_config(model: str) -> Any:
    """The configuration of a model, without its weights."""
    place = find_model(model)
    with _told_in_one_line(place) as options:
        return _model_type(place, options).network.config_class.from_pretrained(place, **options)


def load_network(model: str, device: str = "auto", quantize: str | None = None) -> Any:
    """The network of a model, as `load_model` gives it. On a CPU its linear layers are packed for recognition.

    Args:
        model, device: as there.
        quantize: `int8` for the linear layers of encoder and language model (CPU), `4bit` for the
            language model's (CUDA, the extra `quantization`); None leaves the weights as they are.
    """
    from mser_llm.inference.packing import pack_linear_layers
    from mser_llm.inference.quantization import check_quantization, four_bit_loading, quantize_to_int8

    place, device = find_model(model), pick_device(device)
    if quantize is not None:
        check_quantization(quantize, device)
    with _told_in_one_line(place) as options, _bars_on_terminals_only():
        model_type = _model_type(place, options)
        network_class = model_type.network
        if quantize == "4bit":
            if not model_type.has_language_model:
                raise ValueError(f"{place}: is a classifier without a language model; leave --quantize 4bit out")
            return network_class.from_pretrained(place, **options, **four_bit_loading(device)).eval()
        network = network_class.from_pretrained(place, **options).eval().to(device)
    if quantize == "int8":
        quantize_to_int8(network)
    if device == "cpu":
        pack_linear_layers(network)
    return network


def _model_type(place: str, options: dict[str, Any]) -> ModelType:
    return find_model_type(model_type_of(place, **options))


@contextmanager
def _told_in_one_line(place: str) -> Iterator[dict[str, Any]]:
    """The options to load by, and what cannot be loaded as `ModelNotFoundError`."""
    from huggingface_hub.errors import StrictDataclassError

    from modeling_mser.backbones_mser import BackboneError, offline_options

    options = offline_options(place)
    try:
        yield options
    except OSError as error:
        if options:
            raise ModelNotFoundError(
                f"{place}: no such folder, not in the cache, and the Hub cannot be reached; check the name and the "
                f"network, or {suggest_model(place)}"
            ) from error
        reason = " ".join(str(error).split())
        raise ModelNotFoundError(
            f"{place}: cannot be loaded ({reason}); give a folder with a trained model"
        ) from error
    except (StrictDataclassError, ValueError) as error:
        # Ours name what is wrong and where; a library's speak of a line in a file, and not of which.
        if isinstance(error, (BackboneError, ModelNotFoundError)) or place in str(error):
            raise
        reason = shorten(str(error), 300)
        raise ModelNotFoundError(
            f"{place}: cannot be loaded ({reason}); mend the file, or copy or train it again"
        ) from error


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    """transformers draws its bar of loaded weights into log files and pipes too."""
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
        raise ModelNotFoundError(f"{path}: holds no model (no config.json in a folder); {suggest_model(base=path)}")
    try:
        model_type = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError):
        raise ModelNotFoundError(f"{config}: is not JSON; copy or train the model again") from None
    if model_type not in MODEL_TYPES:
        raise ModelNotFoundError(
            f"{config}: is of a model of type {model_type!r}, none of {', '.join(MODEL_TYPES)}; give one of these"
        )
