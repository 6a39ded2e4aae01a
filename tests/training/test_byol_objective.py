# SPDX-License-Identifier: Apache-2.0
"""Compare BYOL's loss with a loop over clips, and its schedules with known values."""

import math

import pytest
import torch

from mser_llm.training.objectives import BYOL, UNKNOWN, ViewedBatch
from mser_llm.training.objectives.byol import projection_spread


SIZES = {"hidden_size": 7, "projection_size": 5}


def batch_of(clips: int, others: int = 0, size: int = 6) -> tuple[torch.Tensor, ViewedBatch]:
    """Return embeddings of two views of each clip and of other rows, and target embeddings of the pairs."""
    views = torch.tensor([0] * clips + [1] * clips + [UNKNOWN] * others)
    unknown = torch.full_like(views, UNKNOWN)
    targets = torch.randn(2 * clips, size)
    embeddings = torch.randn(len(views), size, requires_grad=True)
    return embeddings, ViewedBatch(unknown, unknown, unknown, views, targets=targets)


def two_layers(module: torch.nn.Sequential, rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Compute linear, batch normalization, ReLU, linear as a loop over numbers."""
    first, norm, _, last = module
    hidden = [first.weight @ row + first.bias for row in rows]
    mean = sum(hidden) / len(hidden)
    deviation = torch.sqrt(sum((h - mean) ** 2 for h in hidden) / len(hidden) + norm.eps)
    units = [norm.weight * (h - mean) / deviation + norm.bias for h in hidden]
    return [last.weight @ unit.clamp(min=0) + last.bias for unit in units]


def test_byol_loss_and_gradient_equal_a_loop():
    torch.manual_seed(0)
    objective = BYOL(6, **SIZES)
    with torch.no_grad():  # so that the target differs from the online network
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
    assert (found[0][8:] == 0).all()
    batch.targets.requires_grad_(True)
    objective(embeddings, batch).backward()
    assert all(value.grad is None for value in (batch.targets, *objective.target_projector.parameters()))


def test_byol_loss_is_0_for_equal_and_8_for_opposite_projections():
    objective = BYOL(6, **SIZES)
    objective.projector = objective.target_projector = objective.predictor = torch.nn.Identity()
    embeddings, batch = batch_of(3)
    same = ViewedBatch(*[batch.views] * 4, targets=torch.cat([embeddings[3:], embeddings[:3]]).detach())
    assert objective(embeddings, same).item() == pytest.approx(0, abs=1e-5)
    opposite = ViewedBatch(*[batch.views] * 4, targets=-same.targets)
    assert objective(embeddings, opposite).item() == pytest.approx(8, abs=1e-5)


def test_byol_computes_half_precision_in_float32():
    torch.manual_seed(0)
    objective = BYOL(6, **SIZES)
    embeddings, batch = batch_of(4)
    expected = objective(embeddings.detach().half().float(), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(embeddings.detach().half(), batch)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_byol_gradient_is_finite_for_identical_clips_and_0_for_one():
    torch.manual_seed(0)
    objective = BYOL(6, **SIZES)
    embeddings, batch = batch_of(4)
    alike = embeddings.detach()[:1].expand(8, -1).clone().requires_grad_()
    loss = objective(alike, batch)
    loss.backward()
    trained = [*objective.projector.parameters(), *objective.predictor.parameters()]
    assert torch.isfinite(loss) and all(torch.isfinite(value.grad).all() for value in (alike, *trained))
    embeddings, batch = batch_of(1)
    loss = objective(embeddings, batch)
    loss.backward()
    assert loss.item() == 0 and (embeddings.grad == 0).all()


def test_byol_schedules_of_lambda_and_momentum():
    objective = BYOL(6, **SIZES)
    found = [objective.share(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert found == pytest.approx([0.8, 0.65, 0.5, 0.2])
    # Grill et al. 2020, Sec. 3.3: 1 - (1 - tau) (cos(pi k / K) + 1) / 2; cos(pi / 3) is 1/2.
    objective = BYOL(6, momentum=0.96, **SIZES)
    found = [objective.momentum_after(progress) for progress in (0.0, 1 / 3, 0.5, 1.0)]
    assert found == pytest.approx([0.96, 0.97, 0.98, 1.0])


def test_projection_spread_of_random_and_identical_directions():
    torch.manual_seed(0)
    directions = torch.randn(20000, 16)
    assert projection_spread(directions).item() == pytest.approx(1, abs=0.01)
    assert projection_spread(torch.randn(1, 16).expand(8, -1)).item() == pytest.approx(0, abs=1e-6)
    # Two unit vectors, (1, 0) and (0, 1): each coordinate deviates by 1/2 from its mean.
    assert projection_spread(torch.tensor([[3.0, 0.0], [0.0, 2.0]])).item() == pytest.approx(math.sqrt(2) / 2)
