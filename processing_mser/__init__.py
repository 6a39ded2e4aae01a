# SPDX-License-Identifier: Apache-2.0
"""Turn audio and text into tensors: emotion words, audio reading, augmentation and processors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .audio_checks_mser import MIN_SECONDS
from .audio_mser import (
    AUDIO_EXTENSIONS,
    MAX_SECONDS,
    SAMPLING_RATE,
    AudioError,
    AudioTooLongError,
    cut_windows,
    find_audio,
    load_audio,
)
from .emotions_mser import (
    EMOTION_SYNONYMS,
    EMOTIONS,
    LABEL_SETS,
    UNPARSED,
    LabelSet,
    canonical_emotion,
    label_set,
    parse_emotion,
)


if TYPE_CHECKING:
    from .classifier_processing_mser import EmotionClassifierProcessor
    from .processing_mser import PROMPTS, MSERProcessor

__all__ = [
    "AUDIO_EXTENSIONS",
    "EMOTIONS",
    "EMOTION_SYNONYMS",
    "LABEL_SETS",
    "MAX_SECONDS",
    "MIN_SECONDS",
    "PROMPTS",
    "SAMPLING_RATE",
    "UNPARSED",
    "AudioError",
    "AudioTooLongError",
    "EmotionClassifierProcessor",
    "LabelSet",
    "MSERProcessor",
    "canonical_emotion",
    "cut_windows",
    "find_audio",
    "label_set",
    "load_audio",
    "parse_emotion",
]


def __getattr__(name: str) -> Any:
    """Import the processors on first use: torch and transformers take seconds, and reading audio needs neither."""
    modules = {"MSERProcessor": "processing_mser", "PROMPTS": "processing_mser"}
    modules["EmotionClassifierProcessor"] = "classifier_processing_mser"
    if name in modules:
        return getattr(import_module(f".{modules[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
