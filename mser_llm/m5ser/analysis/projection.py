# SPDX-License-Identifier: Apache-2.0
"""Project the cells onto the first two principal components of their means."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mser_llm.m5ser.analysis.cell_distances import MIN_CLIPS, Design, cell_means


def project_cells(
    features: np.ndarray, design: Design, languages: Sequence[str], corpora: Sequence[str], emotions: Sequence[str]
) -> dict[str, Any] | None:
    """Project the mean of each cell onto the first two principal components of the means.

    There is no random state and no parameter. The sign of a component makes its largest coefficient positive.
    `features` are `(num_languages, num_sources, size)`; clips with a NaN are ignored.

    Returns:
        `points`: `language`, `source_corpus`, `emotion`, `clips`, `x` and `y` of each cell of at least `MIN_CLIPS`
        clips; `explained`: the fractions of explained variance. None for fewer than three cells.
    """
    means, counts = cell_means(features, design)
    where = np.argwhere(counts >= MIN_CLIPS)
    if len(where) < 3:
        return None
    centers = means[tuple(where.T)]
    centered = centers - centers.mean(axis=0)
    _, spread, components = np.linalg.svd(centered, full_matrices=False)
    largest = components[np.arange(len(components)), np.abs(components).argmax(axis=1)]
    placed = centered @ (components * np.sign(largest)[:, None])[:2].T
    return {
        # Equal means have no variance.
        "explained": [float(fraction) for fraction in (spread**2 / max((spread**2).sum(), np.finfo(float).tiny))[:2]],
        "points": [
            {
                "language": languages[language],
                "source_corpus": corpora[corpus],
                "emotion": emotions[emotion],
                "clips": int(counts[language, corpus, emotion]),
                "x": float(x),
                "y": float(y),
            }
            for (language, corpus, emotion), (x, y) in zip(where, placed, strict=True)
        ],
    }
