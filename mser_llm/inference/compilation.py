# SPDX-License-Identifier: Apache-2.0
"""Compile a model for recognition, with batches in a few fixed shapes, so that compilations are bounded."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from mser_llm.inference.compat import compiled_modules, compiler_errors
from mser_llm.io.errors import InputError


BUCKET_SECONDS = (2.0, 3.0, 4.0, 6.0, 10.0, 15.0, 30.0)
# Two graphs of the language model, and one of each other part per bucket.
_MAX_SHAPES = 64


class CompilationError(InputError):
    """A model cannot be compiled here."""


def check_compiler(device: str) -> None:
    """Check that torch finds its compiler, before a model is loaded.

    Raises:
        CompilationError: there is no C++ compiler, or on CUDA no triton.
    """
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        fix = "install one (apt install g++), set CXX to another, or leave --compile out"
        raise CompilationError("--compile", f"needs a C++ compiler, and {compiler} is not found", fix)
    if device.startswith("cuda") and find_spec("triton") is None:
        raise CompilationError("--compile", "needs triton on CUDA", "pip install triton, or leave --compile out")


@contextmanager
def compiled(model: Any) -> Iterator[None]:
    """Run the parts of a model compiled for the duration.

    Raises:
        CompilationError: torch cannot compile them, or more shapes occur than the buckets have, as with an encoder
            that takes each clip at its own length. It never falls back to running uncompiled.
    """
    if getattr(model, "encodes_clips_separately", False):
        problem = "would compile this model anew for each length of a clip, because its encoder takes no padded batch"
        raise CompilationError("--compile", problem, "leave it out")
    parts = [getattr(model, name, None) for name in ("audio_tower", "emotion_qformer", "language_model")]
    try:
        with compiled_modules([part for part in parts if isinstance(part, nn.Module)], _MAX_SHAPES):
            yield
    except compiler_errors() as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CompilationError("--compile", f"torch cannot compile the model ({reason})", "leave it out") from error


def to_bucket(inputs: Mapping[str, torch.Tensor], batch_size: int, max_seconds: float) -> dict[str, torch.Tensor]:
    """Pad a batch under its mask to a length of `BUCKET_SECONDS`, and to `batch_size` rows.

    Args:
        inputs: the processor's tensors; `input_features` is a spectrogram `(num_clips, num_mel_bins, num_frames)` of
            100 frames/s, or waveforms `(num_clips, num_samples)` at 16 kHz.
        batch_size: rows of the result; the last clip is repeated, and the caller drops the results of its copies.
        max_seconds: the longest input of the model.
    """
    features = inputs["input_features"]
    rate = 100 if features.dim() == 3 else 16_000
    length = next(
        (round(seconds * rate) for seconds in BUCKET_SECONDS if features.shape[-1] <= seconds * rate),
        features.shape[-1],
    )
    length = max(features.shape[-1], min(length, int(max_seconds * rate)))
    rows = torch.arange(batch_size, device=features.device).clamp(max=len(features) - 1)
    filled = {name: tensor[rows] for name, tensor in inputs.items()}
    for name in ("input_features", "input_features_mask"):
        filled[name] = nn.functional.pad(filled[name], (0, length - features.shape[-1]))
    return filled
