# SPDX-License-Identifier: Apache-2.0
"""Compare the projection with scikit-learn's principal components."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from mser_llm.m5ser.analysis.cell_distances import Design
from mser_llm.m5ser.analysis.projection import project_cells


WORDS = {"languages": ["en", "fr"], "corpora": ["one", "two"], "emotions": ["happy", "sad", "fear"]}


def test_projection_equals_pca_of_the_cell_means():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 90, 7)) * np.arange(1, 8)
    emotion, corpus = rng.integers(3, size=90), rng.integers(2, size=90)
    # A cell of two clips is omitted.
    features[1, np.flatnonzero((emotion == 0) & (corpus == 1))[2:]] = np.nan
    design = Design(emotion, corpus, corpus, corpus, 3, 2)
    found = project_cells(features, design, **WORDS)
    means = [
        np.nanmean(features[language, (emotion == e) & (corpus == c)], axis=0)
        for language, c, e in np.ndindex(2, 2, 3)
        if (language, c, e) != (1, 1, 0)
    ]
    pca = PCA(2).fit(means)
    expected = pca.transform(means)
    placed = np.array([[point["x"], point["y"]] for point in found["points"]])
    for axis in range(2):
        sign = np.sign(pca.components_[axis][np.abs(pca.components_[axis]).argmax()])
        assert placed[:, axis] == pytest.approx(sign * expected[:, axis])
    assert found["explained"] == pytest.approx(pca.explained_variance_ratio_)
    labels = [(point["language"], point["source_corpus"], point["emotion"]) for point in found["points"]]
    assert labels[3] == ("en", "two", "happy") and ("fr", "two", "happy") not in labels
    assert found["points"][0]["clips"] == ((emotion == 0) & (corpus == 0)).sum()


def test_projection_of_equal_or_few_cells():
    zeros = np.zeros(12, dtype=int)
    found = project_cells(np.ones((2, 12, 4)), Design(np.arange(12) % 3, zeros, zeros, zeros, 3, 1), **WORDS)
    assert found["explained"] == [0, 0] and {(point["x"], point["y"]) for point in found["points"]} == {(0, 0)}
    two = Design(np.arange(12) % 2, zeros, zeros, zeros, 2, 1)
    assert project_cells(np.random.default_rng(0).standard_normal((1, 12, 4)), two, **WORDS) is None
