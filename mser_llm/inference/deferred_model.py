# SPDX-License-Identifier: Apache-2.0
"""Identify a model by the content of its files, and load it only when it is needed."""

import json
import platform
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mser_llm.inference.loading import find_model, load_config, load_network, pick_device
from mser_llm.inference.quantization import check_quantization
from mser_llm.io.hashing import digest, file_sha256


PREDICTIONS_VERSION = 1
"""Increase this with every change of the code that moves predictions: cached ones are then computed again."""
# Files of a checkpoint, next to its weights, that predictions depend on.
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


def versions(*more: str) -> dict[str, str]:
    """Return the versions of this project, Python, the libraries that affect a result, and `more` distributions."""
    found = {"python": platform.python_version()}
    for distribution in ("mser-llm", "torch", "transformers", "datasets", "numpy", "soundfile", "soxr", *more):
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            found[distribution] = "not installed"
    return found


class DeferredModel:
    """
    A trained model that the first call of `load` loads.

    Arguments and errors are those of `load_model`; the errors are raised at once.
    """

    def __init__(self, name_or_path: str, device: str = "auto", quantize: str | None = None):
        self.name_or_path = find_model(name_or_path)
        self.device = pick_device(device)
        self.quantize = quantize
        if quantize is not None:
            check_quantization(quantize, self.device)
        self._network: Any = None

    def load(self) -> Any:
        """Return the network in evaluation mode, the same object at each call."""
        if self._network is None:
            self._network = load_network(self.name_or_path, self.device, self.quantize)
        return self._network

    @cached_property
    def config(self) -> Any:
        """The configuration, read without the weights."""
        return load_config(self.name_or_path)

    @cached_property
    def fingerprint(self) -> str:
        """
        SHA-256 of what predictions depend on, apart from the clips and the options; does not load it.

        That is: the content of its files; its backbones, by the fingerprints in its configuration (which loading
        verifies) or by their files; `PREDICTIONS_VERSION`; the versions of this project and its libraries; the kind of
        device; the quantization.

        Raises:
            OSError: a file cannot be read, or a Hub id cannot be downloaded.
        """
        return digest(*self._dependencies())

    def _dependencies(self) -> Iterator[Any]:
        from modeling_mser.backbones_mser import offline_options
        from modeling_mser.file_digests_mser import find_file
        from modeling_mser.fingerprint_mser import backbone_fingerprint, weight_files

        place = self.name_or_path
        options = offline_options(place)
        found = {name: file for name in _FILES if (file := find_file(place, name, **options)) is not None}
        for file in (*found.values(), *weight_files(place, **options)):
            yield [file.name, file_sha256(file)]
        config = json.loads(found["config.json"].read_text(encoding="utf-8"))
        for part in ("audio", "text"):
            backbone = config.get(f"{part}_backbone")
            if backbone and not config.get("includes_backbones") and not config.get(f"{part}_backbone_fingerprint"):
                options = {"revision": config.get(f"{part}_backbone_revision"), **offline_options(backbone)}
                yield [part, backbone_fingerprint(weight_files(backbone, **options))]
        yield {"predictions": PREDICTIONS_VERSION, **versions()}
        yield [self.device.split(":")[0], self.quantize]
