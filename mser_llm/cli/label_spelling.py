# SPDX-License-Identifier: Apache-2.0
"""Warn of labels on a command line that look like misspelt emotion words."""

import sys
from collections.abc import Iterable
from typing import Any


def warn_of_misspelt_labels(arguments: Iterable[Any]) -> None:
    """Print a warning to standard error for each word of `labels` that is nearly a known one.

    Any word can be a label, so that it is no error.

    Args:
        arguments: the dataclasses of a command.
    """
    labels = [getattr(section, "labels", None) for section in arguments]
    words = [word.strip() for text in labels if isinstance(text, str) and "," in text for word in text.split(",")]
    if not words:
        return
    from processing_mser.emotions_mser import near_emotion

    for word in dict.fromkeys(words):
        near = near_emotion(word)
        if near is not None:
            print(f"warning: label {word!r} is taken as it is written; did you mean {near}?", file=sys.stderr)
