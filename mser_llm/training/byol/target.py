# SPDX-License-Identifier: Apache-2.0
"""The target network: what is trained below the head, following it slowly."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from mser_llm.training.objectives import BYOL, ObjectiveError
from mser_llm.training.shadow_weights import ShadowWeights


FILE = "byol_target.safetensors"
HEAD = "classifier."


class MomentumTarget(ShadowWeights):
    """
    BYOL's target network, `xi <- tau * xi + (1 - tau) * theta` (Grill et al. 2020, arXiv:2006.07733, Eq. (1)).

    It begins as a copy of the model and shares with it what is frozen. The head, which no target trains, is the
    model's: with it the target network is what is judged and saved (Gong et al. 2025, "Learning More with Less",
    Sec. 2.3).

    Args:
        network: the model, not wrapped.
        objective: its projector is followed likewise.

    Raises:
        ObjectiveError: nothing below the head is trained.
    """

    def __init__(self, network: nn.Module, objective: BYOL):
        trained = {
            name: value
            for name, value in network.named_parameters()
            if value.requires_grad and not name.startswith(HEAD)
        }
        if not trained:
            raise ObjectiveError(
                "objectives: byol trains the layers below the head, and all of them are frozen; "
                "give trained_layers 1 or more, or leave byol out"
            )
        super().__init__(trained, FILE)
        self.network, self.objective = network, objective

    @torch.no_grad()
    def embeddings(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Emotion embeddings `(batch_size, hidden_size)` in float32, by the target's weights and without gradient."""
        outputs = torch.func.functional_call(self.network, self.weights, kwargs=dict(inputs))
        return outputs.emotion_embedding.float()

    def update(self, momentum: float) -> None:
        """
        A step after the online network.

        Args:
            momentum: tau.
        """
        _follow(self.weights.values(), self.parameters.values(), momentum)
        _follow(self.objective.target_projector.parameters(), self.objective.projector.parameters(), momentum)


@torch.no_grad()
def _follow(targets: Iterable[torch.Tensor], online: Iterable[torch.Tensor], momentum: float) -> None:
    for target, value in zip(targets, online, strict=True):
        target.lerp_(value, 1 - momentum)
