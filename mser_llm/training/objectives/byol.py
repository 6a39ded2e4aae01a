# SPDX-License-Identifier: Apache-2.0
"""BYOL: predict one view's projection from another's, without negative pairs."""

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from mser_llm.training.data.batch_features import BatchFeatures, Masking
from mser_llm.training.distributed import gather_with_gradient
from mser_llm.training.number_bounds import AT_LEAST_ONE, FRACTION, POSITIVE_FRACTION, SHARE
from mser_llm.training.objectives.byol_views import ViewStrength
from mser_llm.training.objectives.objective import UNKNOWN, Objective, ObjectiveBatch, ObjectiveError
from mser_llm.training.shadow_weights import ShadowWeights


TARGET_FILE = "byol_target.safetensors"
HEAD = "classifier."
IGNORED = -100
SUPERVISED_VIEWS = 3
MAX_MEMORY = 0.1
"""Maximum part of the training that the target may remember: its head is that of the online network."""
COLLAPSED = 0.1
"""`byol_std` below which all projections count as one; 1 is that of projections spread over all directions."""
PATIENCE = 30
"""Number of steps below `COLLAPSED` after which BYOL counts as collapsed."""


@dataclass(frozen=True)
class ViewedBatch(ObjectiveBatch):
    """
    A batch of several views per clip.

    Attributes:
        views: int64 `(batch_size,)`: 0 and 1 for the two views of a pair, in the same order of clips; `UNKNOWN` for
            any other row.
        targets: the target network's embeddings `(num_paired_rows, hidden_size)` of the paired rows, in their order.
    """

    views: torch.Tensor
    targets: torch.Tensor

    def gathered(self) -> "ViewedBatch":
        views, targets = gather_with_gradient(self.views), gather_with_gradient(self.targets)
        return replace(super().gathered(), views=views, targets=targets)


class BYOL(Objective):
    """
    BYOL's symmetric loss (Grill et al. 2020, arXiv:2006.07733, Eq. (2)), the mean over the clips of

        2 - 2 cos(q(g(e_1)), g'(e'_2))  +  2 - 2 cos(q(g(e_2)), g'(e'_1)).

    e is the embedding of a view, g the projector and q the predictor of the online network. e' and g' belong to the
    target network, whose weights follow the online weights slowly and get no gradient.

    In a training it follows Gong et al. 2025, "Learning More with Less", Sec. 2.3:

    - The total loss is `(1 - lambda) L_own + lambda L_byol` (Eq. (2)), L_own the model's own loss; lambda changes
      linearly.
    - Each clip becomes two strong views without labels, for this objective. A labelled clip also becomes
      `supervised_views` weaker views, for the model's own loss.
    - The target network, with the online network's head, is evaluated and saved.

    Projector and predictor have two layers with batch normalization between them. Its statistics are per view, over
    the clips of all processes.

    Args:
        embedding_size: size of the emotion embeddings.
        lambda_start, lambda_end: lambda at the start and at the end of training.
        momentum: tau at the start; it rises to 1 along a cosine.
        hidden_size: hidden size of projector and predictor.
        projection_size: size of the projections.
        supervised_views: views of each labelled clip for the model's own loss, in addition to the pair.
        supervised_strength: strength of these views, 0 (the clip itself) to 1 (as the pair, but without mixing).
        mixup: maximum part of another clip mixed into a view of the pair.
        least_crop, greatest_crop: minimum and maximum size of its random-resize-crop, relative to the clip.
    """

    classifiers_only = True
    augments = True
    replaces_weights = True
    bounds: ClassVar = {
        **dict.fromkeys(("lambda_start", "lambda_end", "momentum", "supervised_strength"), FRACTION),
        **dict.fromkeys(("hidden_size", "projection_size", "supervised_views", "greatest_crop"), AT_LEAST_ONE),
        "mixup": SHARE,
        "least_crop": POSITIVE_FRACTION,
    }

    def __init__(
        self,
        embedding_size: int,
        lambda_start: float = 0.8,
        lambda_end: float = 0.2,
        momentum: float = 0.99,
        hidden_size: int = 4096,
        projection_size: int = 256,
        supervised_views: int = SUPERVISED_VIEWS,
        supervised_strength: float = 0.5,
        mixup: float = 0.4,
        least_crop: float = 0.6,
        greatest_crop: float = 1.5,
    ):
        super().__init__()
        self.lambda_start, self.lambda_end, self.momentum = lambda_start, lambda_end, momentum
        self.supervised_views, self.supervised_strength = supervised_views, supervised_strength
        self.mixup, self.least_crop, self.greatest_crop = mixup, least_crop, greatest_crop
        self.projector = _two_layers(embedding_size, hidden_size, projection_size)
        self.predictor = _two_layers(projection_size, hidden_size, projection_size)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.target: MomentumTarget | None = None
        self._warned = False

    def share(self, progress: float) -> float:
        """Return lambda."""
        return self.lambda_start + (self.lambda_end - self.lambda_start) * progress

    def momentum_after(self, progress: float) -> float:
        """Return tau of the update after a step; `progress` is the part of the training completed before it."""
        return 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2

    def loss(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        assert isinstance(batch, ViewedBatch), "BYOL compares views"
        paired = batch.views[batch.views >= 0]
        if len(paired) < 4:  # batch statistics need two clips
            return (embeddings * 0).sum(), {}
        projections = [self.projector(embeddings[batch.views == view]) for view in (0, 1)]
        with torch.no_grad():
            targets = [self.target_projector(batch.targets[paired == view]) for view in (0, 1)]
        metrics = {
            "byol_std": projection_spread(torch.cat(projections).detach()),
            "byol_lambda": embeddings.new_tensor(self.share(batch.progress)),
        }
        predictions = [self.predictor(projection) for projection in projections]
        cosines = [nn.functional.cosine_similarity(predictions[view], targets[1 - view], dim=-1) for view in (0, 1)]
        first, second = (2 - 2 * cosine for cosine in cosines)
        return (first + second).mean(), metrics

    # Hooks

    @classmethod
    def rows_per_clip(cls, options: Mapping[str, Any]) -> int:
        return 2 + options.get("supervised_views", SUPERVISED_VIEWS)

    @property
    def shadow_weights(self) -> ShadowWeights | None:
        return self.target

    def attach(self, model: nn.Module, masking: Masking) -> None:
        self.target = MomentumTarget(model, self)
        self.strong = ViewStrength(masking, self.mixup, self.least_crop, self.greatest_crop)
        self.weak = self.strong.reduced(self.supervised_strength)

    def prepare_batch(
        self, inputs: dict[str, torch.Tensor], batch: ObjectiveBatch
    ) -> tuple[dict[str, torch.Tensor], ViewedBatch]:
        """Replace clips with views: all first views, all second views, then the weak views of labelled clips."""
        assert self.target is not None, "attach comes first"
        clips = BatchFeatures.of(inputs)
        size, device = len(clips.values), clips.values.device
        labelled = (inputs["labels"] != IGNORED).nonzero()[:, 0]
        pair = [self.strong.view(clips) for _ in (0, 1)]
        targets = self.target.embeddings(BatchFeatures.joined(pair).inputs())
        count = self.supervised_views if len(labelled) else 0
        weak = [self.weak.view(clips.rows(labelled)) for _ in range(count)]
        rows = torch.cat([torch.arange(size, device=device).repeat(2), labelled.repeat(count)])
        views = torch.full_like(rows, UNKNOWN)
        views[: 2 * size] = torch.arange(2, device=device).repeat_interleave(size)
        labels = inputs["labels"][rows].masked_fill(views != UNKNOWN, IGNORED)
        known = (batch.emotions[rows], batch.languages[rows], batch.speakers[rows])
        viewed = ViewedBatch(*known, views, targets, progress=batch.progress)
        return BatchFeatures.joined([*pair, *weak]).inputs() | {"labels": labels}, viewed

    def on_train_begin(self, max_steps: int) -> None:
        steps = max(max_steps, 1)
        if (1 - self.momentum) * steps * MAX_MEMORY < 1 - 1e-6:
            limit = max(0.0, 1 - 1 / (MAX_MEMORY * steps))
            warnings.warn(
                f"byol: momentum is {self.momentum:g}, so the target, which becomes the model, hardly moves in "
                f"{steps} steps; pass a momentum of at most {limit:.2g}, or train for longer",
                stacklevel=2,
            )

    def on_step_end(self, progress: float) -> None:
        assert self.target is not None, "attach comes first"
        self.target.update(self.momentum_after(progress))

    def on_log(self, log_history: Sequence[Mapping[str, Any]]) -> None:
        below = steps_below(log_history)
        if below >= PATIENCE and not self._warned:
            self._warned = True
            warnings.warn(
                f"byol has collapsed: byol_std has been below {COLLAPSED} for {below} steps, so the projections of "
                "all clips are alike; pass a lower learning_rate, a momentum nearer to 1, or larger batches",
                stacklevel=2,
            )

    def report(self, log_history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the last `byol_std`, the number of steps it was below the limit, and whether BYOL has collapsed."""
        spreads = [entry["byol_std"] for entry in log_history if "byol_std" in entry]
        below = steps_below(log_history)
        return {"std": spreads[-1] if spreads else None, "steps_below": below, "collapsed": below >= PATIENCE}


class MomentumTarget(ShadowWeights):
    """
    BYOL's target network, `xi <- tau * xi + (1 - tau) * theta` (Grill et al. 2020, arXiv:2006.07733, Eq. (1)).

    It starts as a copy of the model. Frozen weights and the head are shared with the model.

    The target projector of the objective follows its projector.
    """

    def __init__(self, model: nn.Module, objective: BYOL):
        trained = {
            name: value
            for name, value in model.named_parameters()
            if value.requires_grad and not name.startswith(HEAD)
        }
        if not trained:
            raise ObjectiveError(
                "objectives: byol",
                "it trains the layers below the head, and all of them are frozen",
                "set trained_layers to 1 or more, or leave byol out",
            )
        super().__init__(trained, TARGET_FILE)
        self.model, self.objective = model, objective

    @torch.no_grad()
    def embeddings(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return emotion embeddings `(batch_size, hidden_size)` in float32, computed with the target's weights."""
        outputs = torch.func.functional_call(self.model, self.weights, kwargs=dict(inputs))
        return outputs.emotion_embedding.float()

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        """Move towards the online network; `momentum` is tau."""
        online = [*self.parameters.values(), *self.objective.projector.parameters()]
        targets = [*self.weights.values(), *self.objective.target_projector.parameters()]
        for target, value in zip(targets, online, strict=True):
            target.lerp_(value, 1 - momentum)


def steps_below(log_history: Sequence[Mapping[str, Any]], limit: float = COLLAPSED) -> int:
    """Count the steps, up to the last logged one, in which every logged `byol_std` was below the limit."""
    last = since = 0
    for entry in log_history:
        if "byol_std" in entry:
            last = entry["step"]
            if entry["byol_std"] >= limit:
                since = last
    return last - since


def projection_spread(projections: torch.Tensor) -> torch.Tensor:
    """
    Compute how far l2-normalized projections `(num_rows, projection_size)` spread.

    The mean standard deviation of a coordinate times sqrt(size) is about 1 for projections in all directions.
    """
    normalized = nn.functional.normalize(projections, dim=-1)
    return normalized.std(0, correction=0).mean() * math.sqrt(projections.shape[1])


def _two_layers(size: int, hidden_size: int, output_size: int) -> nn.Sequential:
    # No running statistics: these layers only run in training.
    norm = nn.BatchNorm1d(hidden_size, track_running_stats=False)
    return nn.Sequential(nn.Linear(size, hidden_size), norm, nn.ReLU(), nn.Linear(hidden_size, output_size))
