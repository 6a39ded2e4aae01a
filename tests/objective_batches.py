# SPDX-License-Identifier: Apache-2.0
"""Batches of labels for tests of the objectives."""

from collections.abc import Sequence

import torch

from mser_llm.training.objectives import UNKNOWN, ObjectiveBatch


def labelled(
    emotions: Sequence[int] | torch.Tensor | None = None,
    languages: Sequence[int] | None = None,
    speakers: Sequence[int] | None = None,
    progress: float = 0.0,
) -> ObjectiveBatch:
    """Return a batch; labels that are not given are unknown."""
    size = next(len(labels) for labels in (emotions, languages, speakers) if labels is not None)
    return ObjectiveBatch(
        *(
            torch.as_tensor([UNKNOWN] * size if labels is None else labels, dtype=torch.int64)
            for labels in (emotions, languages, speakers)
        ),
        progress=progress,
    )
