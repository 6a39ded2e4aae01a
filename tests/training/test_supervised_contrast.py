# SPDX-License-Identifier: Apache-2.0
"""Compare supervised contrast with a double loop over Eq. (2) of arXiv:2004.11362."""

import math

import pytest
import torch
from objective_batches import labelled

from mser_llm.training.objectives import SupervisedContrast


TEMPERATURE = 0.2


def contrast(**options) -> SupervisedContrast:
    return SupervisedContrast(8, temperature=TEMPERATURE, **{"projection_size": 0} | options)


def double_loop(
    embeddings: torch.Tensor, emotions: list[int], languages: list[int], cross_weight: float
) -> torch.Tensor:
    unit = [embedding / embedding.norm() for embedding in embeddings]
    anchors = []
    for i, emotion in enumerate(emotions):
        others = [a for a in range(len(emotions)) if a != i]
        positives = [p for p in others if emotions[p] == emotion]
        if not positives:
            continue
        total = sum(torch.exp(unit[i] @ unit[a] / TEMPERATURE) for a in others)
        weights = [cross_weight if languages[i] != languages[p] else 1.0 for p in positives]
        shares = [torch.log(torch.exp(unit[i] @ unit[p] / TEMPERATURE) / total) for p in positives]
        anchors.append(-sum(w * share for w, share in zip(weights, shares, strict=True)) / sum(weights))
    return sum(anchors) / len(anchors) if anchors else 0 * embeddings.sum()


@pytest.mark.parametrize("cross_weight", [1.0, 3.0])
@pytest.mark.parametrize("emotions", [[0, 1, 2, 0, 1, 3, 0], [1] * 7, [0, 1, 2, 3, 4, 5, 6]])
def test_supervised_contrast_equals_a_double_loop(emotions: list[int], cross_weight: float):
    torch.manual_seed(0)
    languages = [0, 0, 1, 1, 1, 0, 0]
    ours = torch.randn(7, 8, dtype=torch.float64, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    loss = contrast(cross_language_weight=cross_weight)(ours, labelled(emotions, languages))
    expected = double_loop(theirs, emotions, languages, cross_weight)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, x)[0] for value, x in ((loss, ours), (expected, theirs))))


def test_supervised_contrast_of_a_known_case():
    """Unit vectors at 0, 60 and 90 degrees; the first two share an emotion, so the third is no anchor."""
    angles = torch.tensor([0.0, math.pi / 3, math.pi / 2], dtype=torch.float64)
    embeddings = torch.stack([angles.cos(), angles.sin()], 1)
    first = 0.5 / 0.5 - math.log(math.exp(0.5 / 0.5) + math.exp(0.0))
    second = 0.5 / 0.5 - math.log(math.exp(0.5 / 0.5) + math.exp(math.sqrt(3) / 2 / 0.5))
    loss = SupervisedContrast(2, temperature=0.5, projection_size=0)(embeddings, labelled([4, 4, 7]))
    assert loss.item() == pytest.approx(-(first + second) / 2)


def test_supervised_contrast_with_unknown_emotion_or_language():
    torch.manual_seed(0)
    embeddings = torch.randn(6, 8, dtype=torch.float64)
    loss = contrast(cross_language_weight=2.0)
    found = loss(embeddings, labelled([0, -1, 1, 0, -1, 1], [0, 1, 0, -1, 0, 1]))
    expected = double_loop(embeddings[[0, 2, 3, 5]], [0, 1, 0, 1], [0, 0, 0, 1], 2.0)
    torch.testing.assert_close(found, expected)


def test_supervised_contrast_language_weight_attracts_languages():
    """Three clips of one emotion, two in one language: a higher weight attracts the third more."""

    def trained(cross_weight: float) -> float:
        torch.manual_seed(3)
        embeddings = torch.randn(6, 4, requires_grad=True)
        loss = SupervisedContrast(4, cross_language_weight=cross_weight, projection_size=0)
        # Few and small steps, because finally all clips of an emotion are one point.
        optimizer = torch.optim.SGD([embeddings], lr=0.05)
        for _ in range(20):
            optimizer.zero_grad()
            loss(embeddings, labelled([0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 1])).backward()
            optimizer.step()
        unit = torch.nn.functional.normalize(embeddings.detach(), dim=-1)
        return float(unit[0] @ unit[2] + unit[1] @ unit[2] - 2 * unit[0] @ unit[1])

    assert trained(8.0) > trained(1.0) > trained(0.0)


def test_supervised_contrast_trains_its_projection_head():
    torch.manual_seed(0)
    embeddings = torch.randn(6, 8, requires_grad=True)
    loss = contrast(projection_size=3)
    loss(embeddings, labelled([0, 0, 1, 1, 2, 2])).backward()
    assert [tuple(layer.weight.shape) for layer in (loss.projection[0], loss.projection[2])] == [(8, 8), (3, 8)]
    assert all(parameter.grad.abs().max() > 0 for parameter in [embeddings, *loss.parameters()])
