# SPDX-License-Identifier: Apache-2.0
"""Sound and words in, tensors out: the emotion vocabulary, audio reading, augmentation and the processor."""

from .audio_mser import (
    AUDIO_EXTENSIONS,
    MAX_SECONDS,
    MIN_SECONDS,
    SAMPLING_RATE,
    AudioError,
    AudioTooLongError,
    cut_windows,
    find_audio,
    load_audio,
)
from .emotions_mser import (
    CORPUS_LABELS,
    EMOTIONS,
    LABEL_SETS,
    UNPARSED,
    LabelSet,
    UnknownEmotionError,
    canonical_emotion,
    label_set,
    parse_emotion,
)
from .processing_mser import PROMPTS, MSERProcessor


__all__ = [
    "AUDIO_EXTENSIONS",
    "CORPUS_LABELS",
    "EMOTIONS",
    "LABEL_SETS",
    "MAX_SECONDS",
    "MIN_SECONDS",
    "PROMPTS",
    "SAMPLING_RATE",
    "UNPARSED",
    "AudioError",
    "AudioTooLongError",
    "LabelSet",
    "MSERProcessor",
    "UnknownEmotionError",
    "canonical_emotion",
    "cut_windows",
    "find_audio",
    "label_set",
    "load_audio",
    "parse_emotion",
]
