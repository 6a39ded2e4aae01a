# SPDX-License-Identifier: Apache-2.0
"""A model that is not loaded before it is needed, but known by what its files hold."""

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from mser_llm.inference.library_versions import versions
from mser_llm.inference.loading import find_model, load_config, load_network, pick_device
from mser_llm.inference.quantization import check_quantisation
from mser_llm.io.hashing import file_sha256


# What a checkpoint may hold beside its weights that an answer depends on.
_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
_ROOMS = ("processing_mser", "modeling_mser")
_RECOGNITION = ("recognition.py", "clip_windows.py", "packing.py", "quantisation.py", "compilation.py")


class DeferredModel:
    """
    A trained model, loaded by the first `load`.

    Args:
        place: a folder written by `save_pretrained` or a training, or a Hub id.
        device: as in `pick_device`.
        quantize: as in `load_network`.

    Raises:
        ModelNotFoundError: the folder is missing or holds no MSER model.
        ValueError: an unknown device, or a quantisation for another one.
        ImportError: the library of a quantisation is not installed.
    """

    def __init__(self, place: str, device: str = "auto", quantize: str | None = None):
        self.name_or_path = find_model(place)
        self.device = pick_device(device)
        self.quantize = quantize
        if quantize is not None:
            check_quantisation(quantize, self.device)
        self._network: Any = None

    def load(self) -> Any:
        """`MSERForEmotionGeneration` in evaluation mode, the same at each call."""
        if self._network is None:
            self._network = load_network(self.name_or_path, self.device, self.quantize)
        return self._network

    @cached_property
    def config(self) -> Any:
        """The model's configuration, without its weights."""
        return load_config(self.name_or_path)

    @cached_property
    def fingerprint(self) -> str:
        """
        Of all that the model's answers depend on but the clip and the question, told without loading it.

        That is the bytes of its files; its backbones, by the fingerprints in its configuration, to which loading holds
        them, or where it has none by theirs; this project's code that leads from sound to an answer; the versions of
        the libraries; the kind of device; and a quantisation.

        Raises:
            OSError: a file cannot be read, or a Hub id cannot be had.
        """
        digest = hashlib.sha256()
        for name, content in self._facts():
            digest.update(json.dumps([name, content], sort_keys=True).encode())
        return digest.hexdigest()

    def _facts(self) -> Iterator[tuple[str, Any]]:
        from transformers.utils import cached_file

        from modeling_mser.fingerprint_mser import backbone_fingerprint, weight_files
        from modeling_mser.hub_mser import hub_options

        place = self.name_or_path
        options = hub_options(place)
        files = [cached_file(place, name, _raise_exceptions_for_missing_entries=False, **options) for name in _FILES]
        found = {name: Path(str(file)) for name, file in zip(_FILES, files, strict=True) if file is not None}
        for file in (*found.values(), *weight_files(place, **options)):
            yield file.name, file_sha256(file)
        config = json.loads(found["config.json"].read_text(encoding="utf-8"))
        for part in ("audio", "text"):
            backbone = config.get(f"{part}_backbone")
            if backbone and not config.get("includes_backbones") and not config.get(f"{part}_backbone_fingerprint"):
                options = {"revision": config.get(f"{part}_backbone_revision"), **hub_options(backbone)}
                yield part, backbone_fingerprint(weight_files(backbone, **options))
        here = Path(__file__).resolve().parent
        code = [file for room in _ROOMS for file in sorted((here.parent / room).glob("*.py"))]
        for file in (*code, *(here / name for name in _RECOGNITION)):
            yield file.name, file_sha256(file)
        yield "versions", versions()
        yield "device", self.device.split(":")[0]
        if self.quantize is not None:
            yield "quantize", self.quantize
