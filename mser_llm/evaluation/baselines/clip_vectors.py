# SPDX-License-Identifier: Apache-2.0
"""Collect the cached features of clips as one array, for classifiers."""

import sys

import numpy as np

from mser_llm.data.clips import index_clips
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.inference.feature_cache import ClipFeatures
from mser_llm.io.errors import InputError
from processing_mser import LabelSet


def clip_vectors(features: ClipFeatures, clips: LabeledClips, labels: LabelSet) -> tuple[np.ndarray, LabeledClips]:
    """
    Compute or load the features of all usable clips; report unusable clips on standard error.

    Args:
        features: of an encoder whose outputs have the same shape for every clip.

    Returns:
        `(num_clips, ...)` float32, and the usable clips in the given order.

    Raises:
        InputError: no clip is usable.
    """
    indexed, rejected = index_clips(clips.rows, labels)
    rejected += features.prepare([(clip, 0) for clip in indexed])
    unusable = {id(item.row) for item in rejected}
    usable = [index for index, row in enumerate(clips.rows) if id(row) not in unusable]
    if not usable:
        raise InputError(clips.corpora[0], f"none of {len(clips)} clips is usable (first: {rejected[0].reason})")
    if rejected:
        print(f"{len(rejected)} clips are unusable; the first: {rejected[0].reason}", file=sys.stderr)
    vectors = [features(clip, 0).float().numpy() for clip in indexed if id(clip.row) not in unusable]
    return np.stack(vectors), clips.subset(usable)
