# SPDX-License-Identifier: Apache-2.0
"""The picture's coordinates against scikit-learn's principal components."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from mser_llm.m5ser.analysis.cell_distances import Design
from mser_llm.m5ser.analysis.projection import project_cells


WORDS = {"languages": ["en", "fr"], "corpora": ["one", "two"], "emotions": ["happy", "sad", "fear"]}


def test_cells_lie_where_the_principal_components_of_their_means_are():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 90, 7)) * np.arange(1, 8)
    emotion, corpus = rng.integers(3, size=90), rng.integers(2, size=90)
    # Two clips of one cell are too few for a mark.
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


def test_cells_that_are_all_alike_differ_in_no_direction():
    design = Design(np.arange(12) % 3, *[np.zeros(12, dtype=int)] * 3, 3, 1)
    found = project_cells(np.ones((2, 12, 4)), design, **WORDS)
    assert found["explained"] == [0, 0] and {(point["x"], point["y"]) for point in found["points"]} == {(0, 0)}


def test_two_cells_make_no_picture():
    zeros = np.zeros(6, dtype=int)
    design = Design(np.array([0, 0, 0, 1, 1, 1]), zeros, zeros, zeros, 2, 1)
    names = {"languages": ["en"], "corpora": ["one"], "emotions": ["happy", "sad"]}
    assert project_cells(np.random.default_rng(0).standard_normal((1, 6, 4)), design, **names) is None
