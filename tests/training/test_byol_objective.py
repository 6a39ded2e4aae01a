# SPDX-License-Identifier: Apache-2.0
"""BYOL's loss against a plain loop over clips, its schedules against hand-worked numbers, its measure of spread."""

import math

import pytest
import torch

from mser_llm.training.objectives import BYOL, UNKNOWN, ViewedBatch, build_objectives
from mser_llm.training.objectives.building import TrainingFacts
from mser_llm.training.objectives.byol import projection_spread


SIZES = {"hidden_size": 7, "projection_size": 5}


def batch_of(clips: int, others: int = 0, size: int = 6) -> tuple[torch.Tensor, ViewedBatch]:
    """Embeddings of two views of each clip and of further rows, and what the target network makes of the pairs."""
    views = torch.tensor([0] * clips + [1] * clips + [UNKNOWN] * others)
    unknown = torch.full_like(views, UNKNOWN)
    targets = torch.randn(2 * clips, size)
    embeddings = torch.randn(len(views), size, requires_grad=True)
    return embeddings, ViewedBatch(unknown, unknown, unknown, views, targets=targets)


def two_layers(module: torch.nn.Sequential, rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Linear, batch normalisation over these rows, ReLU, linear: one number after the other."""
    first, norm, _, last = module
    hidden = [first.weight @ row + first.bias for row in rows]
    outputs = []
    means = [sum(h[unit] for h in hidden) / len(hidden) for unit in range(len(hidden[0]))]
    variances = [sum((h[unit] - means[unit]) ** 2 for h in hidden) / len(hidden) for unit in range(len(means))]
    for h in hidden:
        units = [
            norm.weight[unit] * (h[unit] - means[unit]) / torch.sqrt(variances[unit] + norm.eps) + norm.bias[unit]
            for unit in range(len(means))
        ]
        outputs.append(last.weight @ torch.stack(units).clamp(min=0) + last.bias)
    return outputs


def test_loss_and_gradient_are_those_of_a_loop():
    torch.manual_seed(0)
    objective = BYOL(6, **SIZES)
    with torch.no_grad():  # a target that has followed from elsewhere
        for parameter in objective.target_projector.parameters():
            parameter.add_(torch.randn_like(parameter))
    embeddings, batch = batch_of(clips=4, others=3)
    total = torch.zeros(())
    for view in (0, 1):
        online = two_layers(objective.projector, [embeddings[4 * view + clip] for clip in range(4)])
        predictions = two_layers(objective.predictor, online)
        other = two_layers(objective.target_projector, [batch.targets[4 * (1 - view) + clip] for clip in range(4)])
        for prediction, target in zip(predictions, other, strict=True):
            unit, aim = prediction / prediction.norm(), (target / target.norm()).detach()
            total = total + ((unit - aim) ** 2).sum() / 4  # Eq. (2): the squared error of unit vectors is 2 - 2 cos
    online_parameters = [*objective.projector.parameters(), *objective.predictor.parameters()]
    expected = torch.autograd.grad(total, [embeddings, *online_parameters])
    loss = objective(embeddings, batch)
    torch.testing.assert_close(loss, total, atol=1e-5, rtol=1e-5)
    found = torch.autograd.grad(loss, [embeddings, *online_parameters])
    for one, other_one in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other_one, atol=1e-5, rtol=1e-4)
    assert (found[0][8:] == 0).all(), "rows of no pair have no part in it"


def test_the_target_gets_no_gradient():
    torch.manual_seed(0)
    objective = BYOL(6, **SIZES)
    embeddings, batch = batch_of(4)
    batch.targets.requires_grad_(True)
    objective(embeddings, batch).backward()
    assert embeddings.grad is not None and embeddings.grad.abs().sum() > 0
    assert batch.targets.grad is None
    assert all(parameter.grad is None for parameter in objective.target_projector.parameters())
    assert all(parameter.grad is not None for parameter in objective.predictor.parameters())


def test_equal_projections_cost_nothing_and_opposite_ones_eight():
    objective = BYOL(6, **SIZES)
    objective.projector = objective.target_projector = objective.predictor = torch.nn.Identity()
    embeddings, batch = batch_of(3)
    same = ViewedBatch(*[batch.views] * 4, targets=torch.cat([embeddings[3:], embeddings[:3]]).detach())
    assert objective(embeddings, same).item() == pytest.approx(0, abs=1e-5)
    opposite = ViewedBatch(*[batch.views] * 4, targets=-same.targets)
    assert objective(embeddings, opposite).item() == pytest.approx(8, abs=1e-5)


def test_half_precision_is_computed_in_single():
    torch.manual_seed(0)
    objective = BYOL(6, **SIZES)
    embeddings, batch = batch_of(4)
    expected = objective(embeddings.detach().half().float(), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(embeddings.detach().half(), batch)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_clips_that_are_all_alike_give_a_finite_gradient():
    torch.manual_seed(0)
    objective = BYOL(6, **SIZES)
    embeddings, batch = batch_of(4)
    alike = embeddings.detach()[:1].expand(8, -1).clone().requires_grad_()
    loss = objective(alike, batch)
    loss.backward()
    trained = [*objective.projector.parameters(), *objective.predictor.parameters()]
    assert torch.isfinite(loss) and all(torch.isfinite(value.grad).all() for value in (alike, *trained))


def test_one_clip_says_nothing():
    objective = BYOL(6, **SIZES)
    embeddings, batch = batch_of(1)
    loss = objective(embeddings, batch)
    loss.backward()
    assert loss.item() == 0 and (embeddings.grad == 0).all()


def test_lambda_falls_linearly_and_momentum_rises_by_a_cosine():
    objective = BYOL(6, **SIZES)
    found = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        objective.progress = progress
        found.append(objective.share)
    assert found == pytest.approx([0.8, 0.65, 0.5, 0.2])
    # Grill et al. 2020, Sec. 3.3: 1 - (1 - tau) (cos(pi k / K) + 1) / 2; cos(pi / 3) is 1/2.
    objective = BYOL(6, momentum=0.96, **SIZES)
    found = [objective.momentum_after(progress) for progress in (0.0, 1 / 3, 0.5, 1.0)]
    assert found == pytest.approx([0.96, 0.97, 0.98, 1.0])


def test_spread_is_one_for_random_directions_and_zero_for_one_point():
    torch.manual_seed(0)
    directions = torch.randn(20000, 16)
    assert projection_spread(directions).item() == pytest.approx(1, abs=0.01)
    assert projection_spread(torch.randn(1, 16).expand(8, -1)).item() == pytest.approx(0, abs=1e-6)
    # Two unit vectors, (1, 0) and (0, 1): each coordinate deviates by 1/2 from its mean.
    assert projection_spread(torch.tensor([[3.0, 0.0], [0.0, 2.0]])).item() == pytest.approx(math.sqrt(2) / 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"momentum": 1.5}, "momentum is 1.5"),
        ({"lambda_end": -0.1}, "lambda_end is -0.1"),
        ({"supervised_views": 0}, "supervised_views is 0"),
        ({"mixup": 1.0}, "mixup is 1.0"),
        ({"least_crop": 1.2}, "crops of 1.2 to 1.5"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"teacher": 1}, "byol has no option 'teacher'"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    facts = TrainingFacts(6, ["sad"], ["en"], [])
    with pytest.raises(ValueError, match=words):
        build_objectives({"byol": options}, facts)
