# SPDX-License-Identifier: Apache-2.0
"""Compare NT-Xent over speakers, published and standard, with a double loop; values and gradients."""

import math

import pytest
import torch
from objective_batches import labelled

from mser_llm.training.objectives import SpeakerContrast


TEMPERATURE = 0.2


def double_loop(embeddings: torch.Tensor, speakers: list[int], denominator: str) -> torch.Tensor:
    unit = [embedding / embedding.norm() for embedding in embeddings]
    terms = []
    for i, speaker in enumerate(speakers):
        for j, other in enumerate(speakers):
            if i == j or speaker != other:
                continue
            if denominator == "negatives":
                summed = [k for k in range(len(speakers)) if speakers[k] != speaker]
            else:
                summed = [k for k in range(len(speakers)) if k != i]
            if not summed:
                continue
            total = sum(torch.exp(unit[i] @ unit[k] / TEMPERATURE) for k in summed)
            terms.append(-torch.log(torch.exp(unit[i] @ unit[j] / TEMPERATURE) / total))
    return sum(terms) / len(terms) if terms else 0 * embeddings.sum()


@pytest.mark.parametrize("denominator", ["negatives", "all"])
@pytest.mark.parametrize("speakers", [[0, 0, 1, 1, 2, 2, 2], [1] * 7, [0, 1, 2, 3, 4, 5, 6]])
def test_speaker_contrast_equals_a_double_loop(speakers: list[int], denominator: str):
    torch.manual_seed(0)
    ours = torch.randn(7, 8, dtype=torch.float64, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    loss = SpeakerContrast(8, TEMPERATURE, denominator)(ours, labelled(speakers=speakers))
    expected = double_loop(theirs, speakers, denominator)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, x)[0] for value, x in ((loss, ours), (expected, theirs))))


def test_speaker_contrast_of_a_known_case():
    """Unit vectors at 0, 60 and 90 degrees, the first two of one speaker: the published sum has the third only."""
    angles = torch.tensor([0.0, math.pi / 3, math.pi / 2], dtype=torch.float64)
    embeddings = torch.stack([angles.cos(), angles.sin()], 1)
    batch = labelled(speakers=[4, 4, 7])
    positive, first, second = 0.5 / 0.5, 0.0, math.sqrt(3) / 2 / 0.5
    published = ((first - positive) + (second - positive)) / 2
    assert SpeakerContrast(2, 0.5)(embeddings, batch).item() == pytest.approx(published)
    standard = sum(math.log(math.exp(positive) + math.exp(negative)) - positive for negative in (first, second)) / 2
    assert SpeakerContrast(2, 0.5, "all")(embeddings, batch).item() == pytest.approx(standard)


@pytest.mark.parametrize("denominator", ["negatives", "all"])
def test_speaker_contrast_ignores_clips_without_speaker(denominator: str):
    torch.manual_seed(0)
    embeddings = torch.randn(6, 8, dtype=torch.float64)
    found = SpeakerContrast(8, TEMPERATURE, denominator)(embeddings, labelled(speakers=[0, -1, 1, 0, -1, 1]))
    torch.testing.assert_close(found, double_loop(embeddings[[0, 2, 3, 5]], [0, 1, 0, 1], denominator))
