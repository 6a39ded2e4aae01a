# SPDX-License-Identifier: Apache-2.0
"""SpeakerAdversarial: its equations, and removal of a planted speaker cue."""

import math

import pytest
import torch
from objective_batches import labelled
from sklearn.linear_model import LogisticRegression
from torch import nn

from mser_llm.training.objectives import SpeakerAdversarial


SPEAKERS, EMOTIONS = 6, 4


@pytest.mark.parametrize("progress", [0.0, 0.1, 1.0])
def test_speaker_adversarial_reverses_and_scales_the_gradient(progress: float):
    torch.manual_seed(0)
    adversary = SpeakerAdversarial(5, num_speakers=3, hidden_size=7, gamma=10.0).double()
    speakers = [0, 2, -1, 1, 2]
    ours = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
    loss = adversary(ours, labelled(speakers=speakers, progress=progress))
    loss.backward()

    theirs = ours.detach().clone().requires_grad_()
    first, _, second = adversary.classifier
    terms = []
    for i, speaker in enumerate(speakers):
        if speaker != -1:
            logits = second.weight @ (first.weight @ theirs[i] + first.bias).clamp(min=0) + second.bias
            terms.append(-torch.log(torch.exp(logits[speaker]) / torch.exp(logits).sum()))
    expected = sum(terms) / len(terms)
    torch.testing.assert_close(loss, expected)
    wanted = torch.autograd.grad(expected, [theirs, *adversary.parameters()])
    coefficient = 2 / (1 + math.exp(-10 * progress)) - 1
    torch.testing.assert_close(ours.grad, -coefficient * wanted[0])
    for parameter, gradient in zip(adversary.parameters(), wanted[1:], strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def clips(number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy vectors with the emotion in four coordinates and the speaker in six others."""
    generator = torch.Generator().manual_seed(seed)
    emotions = torch.randint(EMOTIONS, (number,), generator=generator)
    speakers = torch.randint(SPEAKERS, (number,), generator=generator)
    parts = [nn.functional.one_hot(emotions, EMOTIONS), nn.functional.one_hot(speakers, SPEAKERS)]
    return 3 * torch.cat(parts, 1) + torch.randn(number, EMOTIONS + SPEAKERS, generator=generator), emotions, speakers


def probed(weight: float) -> tuple[float, float]:
    """Train an encoder with an adversary; return accuracies of emotion and speaker probes on new clips."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(EMOTIONS + SPEAKERS, 32), nn.ReLU(), nn.Linear(32, 8))
    head = nn.Linear(8, EMOTIONS)
    adversary = SpeakerAdversarial(8, SPEAKERS, hidden_size=128)
    learned = [*encoder.parameters(), *head.parameters()]
    # At an equal learning rate the classifier cannot follow the embedding, and the cue remains.
    groups = [{"params": learned, "lr": 3e-4}, {"params": list(adversary.parameters()), "lr": 1e-2}]
    optimizer = torch.optim.Adam(groups)
    steps = 1000
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for step in range(steps):
        vectors, emotions, speakers = clips(64, seed=step)
        embeddings = encoder(vectors)
        loss = nn.functional.cross_entropy(head(embeddings), emotions)
        loss = loss + weight * adversary(embeddings, labelled(speakers=speakers, progress=step / steps))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found = []
    with torch.no_grad():
        (train, *known), (test, *truth) = clips(2000, seed=-1), clips(2000, seed=-2)
        for labels, wanted in zip(known, truth, strict=True):
            probe = LogisticRegression(max_iter=1000).fit(encoder(train).numpy(), labels.numpy())
            found.append(probe.score(encoder(test).numpy(), wanted.numpy()))
    return found[0], found[1]


def test_speaker_adversarial_removes_the_speaker_and_keeps_the_emotion():
    emotion_without, speaker_without = probed(weight=0.0)
    emotion_with, speaker_with = probed(weight=1.0)
    assert speaker_without > 0.4, "no cue to remove"
    assert speaker_with < 1 / SPEAKERS + 0.15
    assert emotion_with > emotion_without - 0.05
