# SPDX-License-Identifier: Apache-2.0
"""Candidate labels that a model accepts: the one rule of the pipeline, the commands and the Python API."""

from collections.abc import Sequence
from difflib import get_close_matches
from textwrap import shorten
from typing import Any


class UnlearnedLabelError(ValueError):
    """Candidate labels that the model never learned, and all labels that it learned."""

    def __init__(self, unlearned: Sequence[str], learned: Sequence[str]) -> None:
        super().__init__(unlearned, learned)  # both in `args`: the error must survive a worker process
        self.unlearned, self.learned = tuple(unlearned), tuple(learned)

    def __str__(self) -> str:
        near = {label: get_close_matches(label.lower(), self.learned, 1) for label in self.unlearned}
        hints = ", ".join(f"{found[0]} for {label}" for label, found in near.items() if found)
        return (
            f"labels {_listed(self.unlearned)}: this model, trained from scratch, never learned them; choose from "
            f"{_listed(self.learned)}{f' (did you mean {hints}?)' if hints else ''}, or pass allow_unlearned_labels "
            "to get scores that mean nothing"
        )


def unlearned_labels(config: Any, labels: Sequence[str]) -> tuple[str, ...]:
    """
    Return the candidate labels that a language model trained from scratch never learned.

    There are none for a pretrained language model, which knows other words too, and for a classifier, whose processor
    rejects other labels in any case.
    """
    learned = getattr(config, "learned_words", None)
    if learned is None or getattr(config, "text_config", None) is None:
        return ()
    return tuple(label for label in labels if label not in learned)


def check_labels(config: Any, labels: Sequence[str], allow_unlearned_labels: bool = False) -> tuple[str, ...]:
    """
    Reject candidate labels that the model never learned, or return them if they are allowed.

    Raises:
        UnlearnedLabelError: a label was never learned and is not allowed.
    """
    unlearned = unlearned_labels(config, labels)
    if unlearned and not allow_unlearned_labels:
        raise UnlearnedLabelError(unlearned, config.learned_words)
    return unlearned


def _listed(labels: Sequence[str]) -> str:
    """Labels separated by commas, the last ones counted where they do not fit in a line."""
    shown: list[str] = []
    for label in (shorten(label, 40, placeholder="…") or label[:40] for label in labels):
        if shown and len(", ".join([*shown, label])) > 120:
            return f"{', '.join(shown)} and {len(labels) - len(shown)} more"
        shown.append(label)
    return ", ".join(shown)
