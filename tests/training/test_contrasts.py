# SPDX-License-Identifier: Apache-2.0
"""Compare the contrasts with double loops, values and gradients, and with a case worked out manually."""

import math
from functools import partial

import pytest
import torch
from objective_batches import labelled

from mser_llm.training.objectives import MarginContrast, Objective, SpeakerContrast, SupervisedContrast


TEMPERATURE = 0.2
LANGUAGES = [0, 0, 1, 1, -1, 0, 0]


def margin_loop(unit, emotions, _, w1, w2, m, reduction):
    """Eq. (1) of arXiv:2503.21806."""
    total = 0 * unit[0].sum()
    for i, emotion in enumerate(emotions):
        for j, other in enumerate(emotions):
            similarity = unit[i] @ unit[j]
            total = total + (w1 * (1 - similarity) if emotion == other else w2 * (similarity - m).clamp(min=0))
    return total / len(unit) ** (2 if reduction == "mean" else 0)


def speaker_loop(unit, speakers, _, denominator):
    """NT-Xent, published or standard."""
    terms = []
    for i, speaker in enumerate(speakers):
        for j, other in enumerate(speakers):
            summed = [k for k, one in enumerate(speakers) if (k != i if denominator == "all" else one != speaker)]
            if i != j and speaker == other and summed:
                total = sum(torch.exp(unit[i] @ unit[k] / TEMPERATURE) for k in summed)
                terms.append(-torch.log(torch.exp(unit[i] @ unit[j] / TEMPERATURE) / total))
    return sum(terms) / len(terms) if terms else 0 * unit[0].sum()


def supervised_loop(unit, emotions, languages, cross_weight):
    """Eq. (2) of arXiv:2004.11362, weighted by language."""
    anchors = []
    for i, emotion in enumerate(emotions):
        others = [a for a in range(len(emotions)) if a != i]
        positives = [p for p in others if emotions[p] == emotion]
        if positives:
            total = sum(torch.exp(unit[i] @ unit[a] / TEMPERATURE) for a in others)
            weights = [cross_weight if -1 != languages[i] != languages[p] != -1 else 1.0 for p in positives]
            shares = [torch.log(torch.exp(unit[i] @ unit[p] / TEMPERATURE) / total) for p in positives]
            anchors.append(-sum(w * share for w, share in zip(weights, shares, strict=True)) / sum(weights))
    return sum(anchors) / len(anchors) if anchors else 0 * unit[0].sum()


def margin(*options):
    return MarginContrast(*options), partial(
        margin_loop, w1=options[0], w2=options[1], m=options[2], reduction=options[3]
    )


CASES = [
    *(margin(1.5, 0.7, m, reduction) for m in (-0.5, 0.0, 0.3) for reduction in ("sum", "mean")),
    *((SpeakerContrast(8, TEMPERATURE, one), partial(speaker_loop, denominator=one)) for one in ("negatives", "all")),
    *((SupervisedContrast(8, TEMPERATURE, w, 0), partial(supervised_loop, cross_weight=w)) for w in (1.0, 3.0)),
]


@pytest.mark.parametrize(("objective", "loop"), CASES)
@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2, 2], [1] * 7, [0, 1, 2, 3, 4, 5, 6], [0, -1, 1, 0, 1, -1, 0]])
def test_contrast_equals_a_double_loop_over_known_labels(objective: Objective, loop, labels: list[int]):
    torch.manual_seed(0)
    ours = torch.randn(7, 8, dtype=torch.float64, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    known = [index for index, label in enumerate(labels) if label != -1]
    loss = objective(ours, labelled(labels, LANGUAGES, labels))
    unit = [theirs[index] / theirs[index].norm() for index in known]
    expected = loop(unit, [labels[index] for index in known], [LANGUAGES[index] for index in known])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, x)[0] for value, x in ((loss, ours), (expected, theirs))))


STANDARD = sum(math.log(math.exp(1) + math.exp(negative)) - 1 for negative in (0, math.sqrt(3))) / 2


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        # Ordered pairs: (0,1), (1,0): 2 * (1 - 0.5) each; (0,2), (2,0): max(0, 0 - 0.5); (1,2), (2,1): cos 30 - 0.5.
        (MarginContrast(2.0, 1.0, 0.5, "sum"), 2 * 2 * 0.5 + 2 * (math.sqrt(3) / 2 - 0.5)),
        # The published sum has the third vector only.
        (SpeakerContrast(2, 0.5), ((0 - 1) + (math.sqrt(3) - 1)) / 2),
        (SpeakerContrast(2, 0.5, "all"), STANDARD),
        (SupervisedContrast(2, 0.5, projection_size=0), STANDARD),
    ],
)
def test_contrast_of_a_known_case(objective: Objective, expected: float):
    """Unit vectors at 0, 60 and 90 degrees; the first two share a label, so the third is no anchor."""
    angles = torch.tensor([0.0, math.pi / 3, math.pi / 2], dtype=torch.float64)
    embeddings = torch.stack([angles.cos(), angles.sin()], 1)
    assert objective(embeddings, labelled([4, 4, 7], speakers=[4, 4, 7])).item() == pytest.approx(expected)


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
    loss = SupervisedContrast(8, TEMPERATURE, projection_size=3)
    loss(embeddings, labelled([0, 0, 1, 1, 2, 2])).backward()
    assert [tuple(layer.weight.shape) for layer in (loss.projection[0], loss.projection[2])] == [(8, 8), (3, 8)]
    assert all(parameter.grad.abs().max() > 0 for parameter in [embeddings, *loss.parameters()])
