# SPDX-License-Identifier: Apache-2.0
"""Bootstrap your own latent: one view's projection predicted from another's, without negative pairs."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from mser_llm.training.distributed import gather_with_gradient
from mser_llm.training.objectives.objective import Objective, ObjectiveBatch


@dataclass(frozen=True)
class ViewedBatch(ObjectiveBatch):
    """
    A batch that holds several views of its clips, with their labels.

    Attributes:
        views: int64 `(batch_size,)`: 0 and 1 for the two views of a pair, in the same order of clips; `UNKNOWN` for
            any other row.
        targets: what the target network makes of the rows of pairs, in their order, `(num_paired_rows, hidden_size)`.
    """

    views: torch.Tensor
    targets: torch.Tensor

    def gathered(self) -> "ViewedBatch":
        labels = gather_with_gradient(torch.stack([self.emotions, self.languages, self.speakers, self.views], dim=1))
        emotions, languages, speakers, views = labels.unbind(1)
        return ViewedBatch(emotions, languages, speakers, views, gather_with_gradient(self.targets))


class BYOL(Objective):
    """
    Grill et al. 2020 (arXiv:2006.07733), Eq. (2), made symmetric: the mean over the clips of

        2 - 2 cos(q(g(e_1)), g'(e'_2))  +  2 - 2 cos(q(g(e_2)), g'(e'_1)),

    e the embedding of a view, g the projector and q the predictor of the online network; e' and g' are those of the
    target network, whose weights follow the online ones slowly and get no gradient.

    As Gong et al. 2025, "Learning More with Less", Eq. (2) has it, the objective shares the loss with the model's own:
    `(1 - lambda) L_own + lambda L_byol`, lambda changing linearly over training.

    Projector and predictor are two layers with batch normalisation between, over the clips of all processes and over
    each view apart. The target's projector is kept here; the rest of the target network is the training's.

    Args:
        embedding_size: of the emotion embeddings.
        lambda_start, lambda_end: lambda at the beginning and at the end of training.
        momentum: tau at the beginning; it rises to 1 by a cosine.
        hidden_size: of the layer within projector and predictor.
        projection_size: of the projections.
        supervised_views: views of each labelled clip for the model's own loss, apart from the pair.
        supervised_strength: how strong these are, 0 (the clip itself) to 1 (as the pair, but without mixing).
        mixup: the greatest part of another clip mixed into a view of the pair.
        least_crop, greatest_crop: size of its random-resize-crop, to the clip's own.
    """

    def __init__(
        self,
        embedding_size: int,
        lambda_start: float = 0.8,
        lambda_end: float = 0.2,
        momentum: float = 0.99,
        hidden_size: int = 4096,
        projection_size: int = 256,
        supervised_views: int = 3,
        supervised_strength: float = 0.5,
        mixup: float = 0.4,
        least_crop: float = 0.6,
        greatest_crop: float = 1.5,
    ):
        super().__init__()
        fractions = {
            "lambda_start": lambda_start,
            "lambda_end": lambda_end,
            "momentum": momentum,
            "supervised_strength": supervised_strength,
        }
        for name, value in fractions.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; give a number from 0 to 1")
        for name, size in {"hidden_size": hidden_size, "projection_size": projection_size}.items():
            if size < 1:
                raise ValueError(f"{name} is {size}; give a layer's size")
        if supervised_views < 1:
            raise ValueError(f"supervised_views is {supervised_views}; give 1 or more")
        if not 0 <= mixup < 1:
            raise ValueError(f"mixup is {mixup}; give 0 to mix nothing, or a part below 1")
        if not 0 < least_crop <= 1 <= greatest_crop:
            raise ValueError(
                f"crops of {least_crop} to {greatest_crop}; give least_crop up to 1, greatest_crop from 1"
            )
        self.lambda_start, self.lambda_end, self.momentum = lambda_start, lambda_end, momentum
        self.supervised_views, self.supervised_strength = supervised_views, supervised_strength
        self.mixup, self.least_crop, self.greatest_crop = mixup, least_crop, greatest_crop
        self.projector = _two_layers(embedding_size, hidden_size, projection_size)
        self.predictor = _two_layers(projection_size, hidden_size, projection_size)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)

    @property
    def share(self) -> float:
        """lambda at this moment."""
        return self.lambda_start + (self.lambda_end - self.lambda_start) * self.progress

    def momentum_after(self, progress: float) -> float:
        """tau of the update after a step, `progress` the part of training that was done before it."""
        return 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2

    def loss(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        assert isinstance(batch, ViewedBatch), "BYOL compares views"
        paired = batch.views[batch.views >= 0]
        if len(paired) < 4:  # the statistics of a single clip are none
            return (embeddings * 0).sum()
        projections = [self.projector(embeddings[batch.views == view]) for view in (0, 1)]
        with torch.no_grad():
            targets = [self.target_projector(batch.targets[paired == view]) for view in (0, 1)]
        self.figures = {
            "byol_std": projection_spread(torch.cat(projections).detach()),
            "byol_lambda": embeddings.new_tensor(self.share),
        }
        first, second = (_distances(self.predictor(projections[view]), targets[1 - view]) for view in (0, 1))
        return (first + second).mean()


def projection_spread(projections: torch.Tensor) -> torch.Tensor:
    """
    The standard deviation of each coordinate of the l2-normalised projections, their mean times sqrt(projection_size):
    near 1 for projections in all directions alike, 0 where they are all one.

    Args:
        projections: `(num_rows, projection_size)`.
    """
    normalized = nn.functional.normalize(projections, dim=-1)
    return normalized.std(0, correction=0).mean() * math.sqrt(projections.shape[1])


def _distances(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return 2 - 2 * nn.functional.cosine_similarity(predictions, targets, dim=-1)


def _two_layers(size: int, hidden_size: int, output_size: int) -> nn.Sequential:
    # Only training runs them, so there are no running statistics to keep.
    between = nn.BatchNorm1d(hidden_size, track_running_stats=False)
    return nn.Sequential(nn.Linear(size, hidden_size), between, nn.ReLU(), nn.Linear(hidden_size, output_size))
