# SPDX-License-Identifier: Apache-2.0
"""`torch.compile` for recognition: batches in a few fixed shapes, so that it compiles a bounded number of times."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn


BUCKET_SECONDS = (2.0, 3.0, 4.0, 6.0, 10.0, 15.0, 30.0)
# Two graphs of the language model, and one of each other part for each bucket.
_MOST_SHAPES = 64


class CompilationError(ValueError):
    """A model that cannot be compiled here."""


def check_compiler(device: str) -> None:
    """That torch finds what it compiles with, before anything is loaded for nothing.

    Raises:
        CompilationError: no C++ compiler, or on CUDA no triton.
    """
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        raise CompilationError(
            f"--compile needs a C++ compiler and {compiler} is not found; install one (apt install g++), name it in "
            "CXX, or leave --compile out"
        )
    if device.startswith("cuda") and find_spec("triton") is None:
        raise CompilationError("--compile needs triton on CUDA; pip install triton, or leave --compile out")


@contextmanager
def compiled(model: Any) -> Iterator[None]:
    """The parts of a model run compiled for the duration, and as they were before and after it.

    Raises:
        CompilationError: torch cannot compile them, or met more shapes than the buckets give, as it would where the
            encoder is given each clip at its own length; nothing ever falls back to running uncompiled in silence.
    """
    check_compiler(model.device.type)
    if getattr(model, "encodes_clips_separately", False):
        raise CompilationError(
            "--compile is for encoders that hear a padded batch; this model's hears each clip at its own length, for "
            "which it would be compiled anew; leave --compile out"
        )
    parts = [getattr(model, name, None) for name in ("audio_tower", "emotion_qformer", "language_model")]
    built = [part for part in parts if isinstance(part, nn.Module)]
    before = [part._compiled_call_impl for part in built]
    for part in built:
        part.compile(dynamic=False)
    try:
        with torch._dynamo.config.patch(recompile_limit=_MOST_SHAPES, fail_on_recompile_limit_hit=True):
            yield
    # The latter is none of the former.
    except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CompilationError(f"torch cannot compile the model ({reason}); leave --compile out") from error
    finally:
        for part, call in zip(built, before, strict=True):
            part._compiled_call_impl = call


def to_bucket(inputs: Mapping[str, torch.Tensor], batch_size: int, most_seconds: float) -> dict[str, torch.Tensor]:
    """A batch in one of a few shapes: padded under its mask to a length of `BUCKET_SECONDS`, and to `batch_size` rows.

    Args:
        inputs: the processor's tensors; `input_features` is a spectrogram `(num_clips, num_mel_bins, num_frames)` of
            100 frames a second, or waveforms `(num_clips, num_samples)` at 16 kHz.
        batch_size: rows of the result; the last clip is repeated, and the answers of its copies are to be dropped.
        most_seconds: what the model can hear.
    """
    features = inputs["input_features"]
    rate = 100 if features.dim() == 3 else 16_000
    length = next(
        (round(seconds * rate) for seconds in BUCKET_SECONDS if features.shape[-1] <= seconds * rate),
        features.shape[-1],
    )
    length = max(features.shape[-1], min(length, int(most_seconds * rate)))
    rows = torch.arange(batch_size, device=features.device).clamp(max=len(features) - 1)
    filled = {name: tensor[rows] for name, tensor in inputs.items()}
    for name in ("input_features", "input_features_mask"):
        filled[name] = nn.functional.pad(filled[name], (0, length - features.shape[-1]))
    return filled


__all__ = ["BUCKET_SECONDS", "CompilationError", "check_compiler", "compiled", "to_bucket"]
