# SPDX-License-Identifier: Apache-2.0
"""Sound and words in, tensors out: the emotion vocabulary, audio reading, augmentation and the processor."""

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
    """The processor, when it is asked for: with transformers and torch it takes seconds, and what lists corpora, reads
    audio or builds M5SER in several processes needs neither."""
    if name == "MSERProcessor":
        from .processing_mser import MSERProcessor

        return MSERProcessor
    if name == "EmotionClassifierProcessor":
        from .classifier_processing_mser import EmotionClassifierProcessor

        return EmotionClassifierProcessor
    if name == "PROMPTS":
        from .processing_mser import PROMPTS

        return PROMPTS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
