# SPDX-License-Identifier: Apache-2.0
"""Compare Eq. (1) with a double loop, values and gradients."""

import math

import pytest
import torch
from objective_batches import labelled

from mser_llm.training.objectives import MarginContrast


def double_loop(embeddings: torch.Tensor, emotions: torch.Tensor, w1: float, w2: float, m: float) -> torch.Tensor:
    total = embeddings.new_zeros(())
    for i in range(len(embeddings)):
        for j in range(len(embeddings)):
            similarity = torch.dot(embeddings[i], embeddings[j]) / (embeddings[i].norm() * embeddings[j].norm())
            if emotions[i] == emotions[j]:
                total = total + w1 * (1 - similarity)
            else:
                total = total + w2 * torch.clamp(similarity - m, min=0)
    return total


@pytest.mark.parametrize("margin", [-0.5, 0.0, 0.3])
@pytest.mark.parametrize("emotions", [[0, 1, 2, 0, 1, 3], [1] * 6, [0, 1, 2, 3, 4, 5]])
def test_margin_contrast_equals_a_double_loop(margin: float, emotions: list[int]):
    torch.manual_seed(0)
    labels = torch.tensor(emotions)
    ours = torch.randn(6, 8, dtype=torch.float64).float().requires_grad_()
    theirs = ours.detach().double().requires_grad_()
    for reduction, scale in (("sum", 1.0), ("mean", 1 / 36)):
        loss = MarginContrast(1.5, 0.7, margin, reduction)(ours, labelled(emotions=labels))
        expected = scale * double_loop(theirs, labels, 1.5, 0.7, margin)
        torch.testing.assert_close(loss.double(), expected, atol=1e-5, rtol=1e-5)
        (found,) = torch.autograd.grad(loss, ours)
        (wanted,) = torch.autograd.grad(expected, theirs)
        torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-4)


def test_margin_contrast_of_a_known_case():
    """Unit vectors at 0, 60 and 90 degrees; the first two share an emotion; m = 0.5, w1 = 2, w2 = 1."""
    angles = torch.tensor([0.0, math.pi / 3, math.pi / 2])
    embeddings = torch.stack([angles.cos(), angles.sin()], 1)
    # Ordered pairs: (0,1), (1,0): 2 * (1 - 0.5) each; (0,2), (2,0): max(0, 0 - 0.5) = 0;
    # (1,2), (2,1): cos 30 - 0.5 each; a vector with itself costs nothing.
    expected = 2 * 2 * 0.5 + 2 * (math.sqrt(3) / 2 - 0.5)
    loss = MarginContrast(2.0, 1.0, 0.5, "sum")(embeddings, labelled(emotions=[4, 4, 7]))
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_margin_contrast_is_finite_in_half_precision():
    loss = MarginContrast()(torch.randn(4, 8).half(), labelled(emotions=[0, 0, 1, 1]))
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    alone = torch.randn(1, 8, requires_grad=True)
    loss = MarginContrast()(alone, labelled(emotions=[2]))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(alone.grad).all()


def test_margin_contrast_ignores_clips_without_emotion():
    embeddings = torch.randn(5, 8, dtype=torch.float64)
    found = MarginContrast()(embeddings, labelled(emotions=[0, -1, 1, -1, 0]))
    torch.testing.assert_close(found, MarginContrast()(embeddings[[0, 2, 4]], labelled(emotions=[0, 1, 0])))
