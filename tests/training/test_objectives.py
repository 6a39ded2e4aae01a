# SPDX-License-Identifier: Apache-2.0
"""Properties of all objectives, and building them from a recipe."""

import pytest
import torch
import yaml
from objective_batches import labelled

from mser_llm.training.objectives import (
    OBJECTIVES,
    MarginContrast,
    Objective,
    ObjectiveError,
    TrainingFacts,
    build_objectives,
)


FACTS = TrainingFacts(8, emotions=("happy", "sad"), languages=("en", "pl"), speakers=("a", "b", "c"))
BATCH = labelled([0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2], progress=0.5)


# BYOL needs batches of views; test_byol_objective.py checks the same properties.
@pytest.fixture(params=sorted(set(OBJECTIVES) - {"byol"}))
def objective(request: pytest.FixtureRequest) -> Objective:
    torch.manual_seed(0)
    (built,) = build_objectives({request.param: {}}, FACTS).values()
    _, objective = built
    return objective


def embeddings(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_objective_computes_half_precision_in_float32(objective: Objective, dtype: torch.dtype):
    halved = embeddings(dtype)
    full = halved.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        found = objective(halved, BATCH)
    expected = objective(full, BATCH)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    found.backward()
    expected.backward()
    assert torch.equal(halved.grad, full.grad.to(dtype)) and full.grad.abs().max() > 0


@pytest.mark.parametrize(
    "batch",
    [
        labelled([0] * 6, [0] * 6, [0] * 6),
        labelled(range(6), range(6), [0, 1, 2, -1, -1, -1]),
        labelled([-1] * 6),
        labelled([0, 1, -1, -1, -1, -1], [0, 1, -1, -1, -1, -1], [0, 1, -1, -1, -1, -1]),
        labelled([0], [0], [0]),
    ],
    ids=["all alike", "all different", "nothing known", "one of each", "one clip"],
)
def test_objective_is_finite_for_any_batch(objective: Objective, batch):
    # The hardest cases for a cosine and its gradient.
    hard = embeddings(torch.float32).detach()
    hard[1], hard[2] = hard[0], -hard[0]
    hard = hard[: len(batch.emotions)].clone().requires_grad_()
    loss = objective(hard, batch)
    loss.backward()
    assert torch.isfinite(loss)
    for parameter in (hard, *objective.parameters()):
        assert torch.isfinite(parameter.grad).all()
    if (torch.stack([batch.emotions, batch.speakers]) == -1).all():
        assert loss.item() == 0 and not hard.grad.any()


def built(section: str) -> dict:
    return build_objectives(yaml.safe_load(section), FACTS)


def test_build_objectives_reads_weights_and_options():
    options = "{weight: 0.5, temperature: 1}, speaker_adversarial: }"
    found = built(f"{{margin_contrast: {{margin: 0.2}}, supervised_contrast: {options}")
    assert [weight for weight, _ in found.values()] == [1.0, 0.5, 1.0]
    margin, supervised, adversarial = (objective for _, objective in found.values())
    assert isinstance(margin, MarginContrast) and margin.margin == 0.2
    assert supervised.temperature == 1 and supervised.projection[0].in_features == 8
    assert adversarial.classifier[-1].out_features == 3
    assert built("{supervised_contrast: {weight: 0}}") == {}


@pytest.mark.parametrize(
    ("section", "source"),
    [
        ("{contrast: {}}", "objectives"),
        ("{margin_contrast: 0.5}", "objectives: margin_contrast"),
        ("{margin_contrast: {margn: 1}}", "objectives: margin_contrast: margn"),
        ("{supervised_contrast: {embedding_size: 4}}", "objectives: supervised_contrast: embedding_size"),
        ("{supervised_contrast: {temperature: warm}}", "objectives: supervised_contrast: temperature"),
        ("{supervised_contrast: {temperature: true}}", "objectives: supervised_contrast: temperature"),
        ("{supervised_contrast: {projection_size: 1.5}}", "objectives: supervised_contrast: projection_size"),
        ("{speaker_contrast: {denominator: 1}}", "objectives: speaker_contrast: denominator"),
        ("{speaker_contrast: {denominator: some}}", "objectives: speaker_contrast: denominator"),
        ("{speaker_contrast: {weight: -1}}", "objectives: speaker_contrast: weight"),
        ("{speaker_contrast: {}, speaker_adversarial: {}}", "objectives: speaker_adversarial, speaker_contrast"),
        ("{supervised_contrast: {temperature: 0}}", "objectives: supervised_contrast: temperature"),
        (
            "{supervised_contrast: {cross_language_weight: -1}}",
            "objectives: supervised_contrast: cross_language_weight",
        ),
        ("{supervised_contrast: {projection_size: -1}}", "objectives: supervised_contrast: projection_size"),
        ("{margin_contrast: {margin: 1.5}}", "objectives: margin_contrast: margin"),
        ("{margin_contrast: {reduction: max}}", "objectives: margin_contrast: reduction"),
        ("{speaker_adversarial: {hidden_size: -1}}", "objectives: speaker_adversarial: hidden_size"),
        ("{speaker_adversarial: {gamma: 0}}", "objectives: speaker_adversarial: gamma"),
        ("{byol: {momentum: 1.5}}", "objectives: byol: momentum"),
        ("{byol: {lambda_end: -0.1}}", "objectives: byol: lambda_end"),
        ("{byol: {supervised_views: 0}}", "objectives: byol: supervised_views"),
        ("{byol: {mixup: 1.0}}", "objectives: byol: mixup"),
        ("{byol: {least_crop: 1.2}}", "objectives: byol: least_crop"),
        ("{byol: {greatest_crop: 0.9}}", "objectives: byol: greatest_crop"),
    ],
)
def test_build_objectives_rejects_invalid_option(section: str, source: str):
    with pytest.raises(ObjectiveError) as error:
        built(section)
    assert error.value.source == source and error.value.fix
    assert "margn" not in section or error.value.fix == "did you mean margin?"


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("speaker_adversarial", {"speakers": ()}),
        ("speaker_contrast", {"speakers": ("ann",)}),
        ("supervised_contrast", {"emotions": ("sad",)}),
    ],
)
def test_build_objectives_rejects_missing_labels(name: str, labels: dict):
    facts = TrainingFacts(**{**vars(FACTS), **labels})
    with pytest.raises(ObjectiveError) as error:
        build_objectives({name: {}}, facts)
    assert error.value.source == f"objectives: {name}"
    assert build_objectives({name: {"weight": 0}}, facts) == {}


@pytest.mark.parametrize("languages", [("en",), ()])
def test_build_objectives_warns_about_a_useless_language_weight(languages: tuple):
    facts = TrainingFacts(**{**vars(FACTS), "languages": languages})
    with pytest.warns(UserWarning, match="cross_language_weight"):
        build_objectives({"supervised_contrast": {"cross_language_weight": 2.0}}, facts)
