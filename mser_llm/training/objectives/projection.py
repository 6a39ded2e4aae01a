# SPDX-License-Identifier: Apache-2.0
"""The projection head: a contrast in a space of its own, so that the embedding may keep what the contrast discards."""

from torch import nn


def projection_head(embedding_size: int, projection_size: int) -> nn.Module:
    """
    Two layers with a ReLU between, thrown away after training (Chen et al. 2020, arXiv:2002.05709, Sec. 4.2).

    Args:
        embedding_size: of the embeddings, and of the layer between.
        projection_size: of what the contrast compares; 0 for the embeddings as they are.

    Raises:
        ValueError: a negative size.
    """
    if projection_size < 0:
        raise ValueError(f"projection_size is {projection_size}; give 0 for no projection head, or its output size")
    if projection_size == 0:
        return nn.Identity()
    return nn.Sequential(
        nn.Linear(embedding_size, embedding_size), nn.ReLU(), nn.Linear(embedding_size, projection_size)
    )
