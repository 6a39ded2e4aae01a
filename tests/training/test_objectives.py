# SPDX-License-Identifier: Apache-2.0
"""What all objectives have in common, and how a recipe names them."""

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
BATCH = labelled([0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2])


# byol compares views, which such batches have none of; its own tests ask the same of it.
@pytest.fixture(params=sorted(set(OBJECTIVES) - {"byol"}))
def objective(request: pytest.FixtureRequest) -> Objective:
    torch.manual_seed(0)
    (built,) = build_objectives({request.param: {}}, FACTS).values()
    _, objective = built
    objective.progress = 0.5
    return objective


def embeddings(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(objective: Objective, dtype: torch.dtype):
    halved = embeddings(dtype)
    whole = halved.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        found = objective(halved, BATCH)
    expected = objective(whole, BATCH)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    found.backward()
    expected.backward()
    assert torch.equal(halved.grad, whole.grad.to(dtype)) and whole.grad.abs().max() > 0


@pytest.mark.parametrize(
    "batch",
    [
        labelled([0] * 6, [0] * 6, [0] * 6),
        labelled(range(6), range(6), [0, 1, 2, -1, -1, -1]),
        labelled([-1] * 6),
        labelled([0, 1, -1, -1, -1, -1], [0, 1, -1, -1, -1, -1], [0, 1, -1, -1, -1, -1]),
    ],
    ids=["all alike", "all different", "nothing known", "one of each"],
)
def test_no_batch_makes_it_other_than_a_number(objective: Objective, batch):
    # Clips that are the same, and opposite, are the hardest for a cosine and for its gradient.
    hard = embeddings(torch.float32).detach()
    hard[1], hard[2] = hard[0], -hard[0]
    hard.requires_grad_()
    loss = objective(hard, batch)
    loss.backward()
    assert torch.isfinite(loss)
    for parameter in (hard, *objective.parameters()):
        assert torch.isfinite(parameter.grad).all()
    if (torch.stack([batch.emotions, batch.speakers]) == -1).all():
        assert loss.item() == 0 and not hard.grad.any()


def test_a_batch_of_one_is_finite(objective: Objective):
    alone = embeddings(torch.float32)[:1]
    loss = objective(alone, labelled([0], [0], [0]))
    loss.backward()
    assert torch.isfinite(loss)


def built(section: str) -> dict:
    return build_objectives(yaml.safe_load(section), FACTS)


def test_a_line_of_a_recipe_names_objectives_with_weights_and_options():
    line = (
        "{margin_contrast: {margin: 0.2}, supervised_contrast: {weight: 0.5, temperature: 1}, speaker_adversarial: }"
    )
    found = built(line)
    assert {name: weight for name, (weight, _) in found.items()} == {
        "margin_contrast": 1.0,
        "supervised_contrast": 0.5,
        "speaker_adversarial": 1.0,
    }
    objectives = {name: objective for name, (_, objective) in found.items()}
    assert isinstance(objectives["margin_contrast"], MarginContrast) and objectives["margin_contrast"].margin == 0.2
    assert objectives["supervised_contrast"].temperature == 1
    # The facts of the training fill in the sizes.
    assert objectives["supervised_contrast"].projection[0].in_features == 8
    assert objectives["speaker_adversarial"].classifier[-1].out_features == 3
    assert built("{supervised_contrast: {weight: 0}}") == {}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{contrast: {}}", "there is no 'contrast'; there are margin_contrast, supervised_contrast, speaker_adv"),
        ("{margin_contrast: 0.5}", r"margin_contrast: expected a section such as \{weight: 0.5\}, got 0.5"),
        ("{margin_contrast: {margn: 1}}", "no option 'margn'; did you mean margin; its options are weight, positive"),
        ("{supervised_contrast: {embedding_size: 4}}", "no option 'embedding_size'"),
        ("{supervised_contrast: {temperature: warm}}", "temperature: expected a number, got 'warm'"),
        ("{supervised_contrast: {temperature: true}}", "temperature: expected a number, got True"),
        ("{supervised_contrast: {projection_size: 1.5}}", "projection_size: expected a whole number, got 1.5"),
        ("{speaker_contrast: {denominator: 1}}", "denominator: expected a word, got 1"),
        ("{supervised_contrast: {temperature: 0}}", "supervised_contrast: temperature is 0; give a number above 0"),
        ("{speaker_contrast: {weight: -1}}", "weight is -1; give 0 to leave it out"),
        ("{speaker_contrast: {}, speaker_adversarial: {}}", "cannot be trained at once: the one hides"),
    ],
)
def test_what_a_recipe_got_wrong_is_told_in_one_line(section: str, message: str):
    with pytest.raises(ObjectiveError, match=message.replace("; did you mean margin;", r"; did you mean margin\?;")):
        built(section)


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("speaker_adversarial", {"speakers": ()}, "needs speakers, and no training clip has its speaker stated"),
        ("speaker_contrast", {"speakers": ("ann",)}, "two speakers or more, and all training clips have the speaker"),
        ("supervised_contrast", {"emotions": ("sad",)}, "two emotions or more, and all .* the emotion 'sad'"),
    ],
)
def test_labels_that_the_clips_lack_are_told_with_the_cure(name: str, labels: dict, message: str):
    facts = TrainingFacts(**{**vars(FACTS), **labels})
    with pytest.raises(ObjectiveError, match=f"{message}.*or leave {name} out"):
        build_objectives({name: {}}, facts)
    assert build_objectives({name: {"weight": 0}}, facts) == {}


@pytest.mark.parametrize(
    ("languages", "told"), [(("en",), "all training clips are in 'en'"), ((), "no clip states one")]
)
def test_a_weight_across_languages_over_one_language_is_warned_of(languages: tuple, told: str):
    facts = TrainingFacts(**{**vars(FACTS), "languages": languages})
    with pytest.warns(UserWarning, match=f"cross_language_weight has no effect, for {told}"):
        build_objectives({"supervised_contrast": {"cross_language_weight": 2.0}}, facts)
