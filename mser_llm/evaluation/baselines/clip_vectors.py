# SPDX-License-Identifier: Apache-2.0
"""Features of whole corpora as one array, out of the cache, for classifiers that see a clip at once."""

import sys

import numpy as np

from mser_llm.data.clips import index_clips
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.inference.feature_cache import ClipFeatures
from processing_mser import LabelSet


def clip_vectors(features: ClipFeatures, clips: LabeledClips, labels: LabelSet) -> tuple[np.ndarray, LabeledClips]:
    """
    Features of the usable clips, each encoded once and kept. How many cannot be used, and why, goes to standard error.

    Args:
        features: of an encoder that gives every clip a tensor of the same shape.
        clips: at least one.
        labels: the label set that their truths are of.

    Returns:
        `(num_clips, ...)` float32, and the clips that it is of, in the given order.

    Raises:
        ValueError: no clip can be used.
    """
    indexed, rejected = index_clips(clips.rows, labels)
    rejected += features.prepare([(clip, 0) for clip in indexed])
    unusable = {id(item.row) for item in rejected}
    usable = [index for index, row in enumerate(clips.rows) if id(row) not in unusable]
    if not usable:
        raise ValueError(f"none of {len(clips)} clips can be used; the first: {rejected[0].reason}")
    if rejected:
        print(f"{len(rejected)} clips cannot be used; the first: {rejected[0].reason}", file=sys.stderr)
    vectors = [features(clip, 0).float().numpy() for clip in indexed if id(clip.row) not in unusable]
    return np.stack(vectors), clips.subset(usable)
