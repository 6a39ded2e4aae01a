# SPDX-License-Identifier: Apache-2.0
"""The two-dimensional picture of the cells: principal components of their means."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mser_llm.m5ser.analysis.cell_distances import FEWEST_CLIPS, Design, cell_means


def project_cells(
    features: np.ndarray, design: Design, languages: Sequence[str], corpora: Sequence[str], emotions: Sequence[str]
) -> dict[str, Any] | None:
    """The mean of each cell, and where it lies on the two directions in which the means differ most.

    Principal components have no free setting and no chance in them; of the two signs that each may have, the one is
    taken whose largest coefficient is positive.

    Args:
        features: `(num_languages, num_sources, size)`; a clip with any NaN is left out.
        design: of the sources.
        languages, corpora, emotions: their names.

    Returns:
        `points`: for each cell of at least `FEWEST_CLIPS` clips `language`, `source_corpus`, `emotion`, `clips`, `x`
        and `y`; `explained`: the shares of the variance of the means along the two. None for fewer than three cells.
    """
    means, counts = cell_means(features, design)
    where = np.argwhere(counts >= FEWEST_CLIPS)
    if len(where) < 3:
        return None
    points = means[tuple(where.T)]
    centred = points - points.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    placed = centred @ (directions * np.sign(largest)[:, None])[:2].T
    return {
        # Means that are all equal differ in no direction.
        "explained": [float(share) for share in (spread**2 / max((spread**2).sum(), np.finfo(float).tiny))[:2]],
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
