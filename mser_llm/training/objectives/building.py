# SPDX-License-Identifier: Apache-2.0
"""From a recipe's `objectives` to the objectives themselves, or to a sentence that says what stands in the way."""

import difflib
import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mser_llm.training.objectives.byol import BYOL
from mser_llm.training.objectives.margin_contrast import MarginContrast
from mser_llm.training.objectives.objective import Objective
from mser_llm.training.objectives.speaker_adversarial import SpeakerAdversarial
from mser_llm.training.objectives.speaker_contrast import SpeakerContrast
from mser_llm.training.objectives.supervised_contrast import SupervisedContrast


OBJECTIVES: dict[str, type[Objective]] = {
    "margin_contrast": MarginContrast,
    "supervised_contrast": SupervisedContrast,
    "speaker_adversarial": SpeakerAdversarial,
    "speaker_contrast": SpeakerContrast,
    "byol": BYOL,
}
# Pairs that undo each other, and why.
CONFLICTS = {
    ("speaker_adversarial", "speaker_contrast"): "the one hides in the embedding who speaks, the other brings it out",
}


class ObjectiveError(ValueError):
    """Objectives that do not exist, or that these data or one another rule out."""


@dataclass(frozen=True)
class TrainingFacts:
    """
    What objectives have to know of a training.

    Attributes:
        embedding_size: of the model's emotion embeddings.
        emotions, languages, speakers: that occur among its clips; those of a clip are known by their index here.
    """

    embedding_size: int
    emotions: Sequence[str]
    languages: Sequence[str]
    speakers: Sequence[str]


def build_objectives(
    section: Mapping[str, Mapping[str, Any] | None], facts: TrainingFacts
) -> dict[str, tuple[float, Objective]]:
    """
    The objectives that a recipe names.

    Args:
        section: name to options: `weight` (1.0; 0 leaves the objective out) and the arguments of its class, but for
            those that the facts fill in.
        facts: of this training.

    Returns:
        Name to weight and objective.

    Raises:
        ObjectiveError: an unknown name or option, a value that makes no sense; a label that an objective needs and the
            clips lack; objectives that rule each other out.
    """
    built = {}
    for name, given in section.items():
        if name not in OBJECTIVES:
            raise ObjectiveError(f"objectives: there is no {name!r}; there are {', '.join(OBJECTIVES)}")
        options = _checked_options(name, given)
        weight = float(options.pop("weight", 1.0))
        if weight < 0:
            raise ObjectiveError(f"objectives: {name}: weight is {weight:g}; give 0 to leave it out, or more")
        if weight > 0:
            _check_labels(name, facts)
            try:
                built[name] = (weight, OBJECTIVES[name](**options, **_filled_in(name, facts)))
            except ValueError as error:
                raise ObjectiveError(f"objectives: {name}: {error}") from None
            if options.get("cross_language_weight", 1) != 1 and len(facts.languages) < 2:
                told = f"all training clips are in {facts.languages[0]!r}" if facts.languages else "no clip states one"
                warnings.warn(f"{name}: cross_language_weight has no effect, for {told}", stacklevel=2)
    for (first, second), reason in CONFLICTS.items():
        if first in built and second in built:
            raise ObjectiveError(f"objectives: {first} and {second} cannot be trained at once: {reason}; keep one")
    return built


def check_objectives(section: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Raises what `build_objectives` would, whatever the data: before an hour is spent on reading them."""
    any_two = ("one", "another")
    build_objectives(section, TrainingFacts(1, any_two, any_two, any_two))


def _filled_in(name: str, facts: TrainingFacts) -> dict[str, int]:
    known = {"embedding_size": facts.embedding_size, "num_speakers": len(facts.speakers)}
    return {key: known[key] for key in inspect.signature(OBJECTIVES[name]).parameters if key in known}


def _checked_options(name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options, each of a name and of a kind that the objective has."""
    if not isinstance(given, Mapping | None):
        raise ObjectiveError(f"objectives: {name}: expected a section such as {{weight: 0.5}}, got {given!r}")
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(OBJECTIVES[name]).parameters.values()
        if parameter.default is not inspect.Parameter.empty
    }
    defaults = {"weight": 1.0} | defaults
    options = dict(given or {})
    for option, value in options.items():
        if option not in defaults:
            near = difflib.get_close_matches(str(option), list(defaults), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ObjectiveError(
                f"objectives: {name} has no option {option!r}{hint}; its options are {', '.join(defaults)}"
            )
        # An int is a number too, where a fraction may stand; a bool, which Python takes for an int, is not.
        kind = type(defaults[option])
        kinds = (int, float) if kind is float else kind
        if isinstance(value, bool) or not isinstance(value, kinds):
            wanted = {float: "a number", int: "a whole number", str: "a word"}[kind]
            raise ObjectiveError(f"objectives: {name}: {option}: expected {wanted}, got {value!r}")
        if kind is float and not math.isfinite(value):
            raise ObjectiveError(f"objectives: {name}: {option} is {value}; pass a finite number")
    return options


def _check_labels(name: str, facts: TrainingFacts) -> None:
    for label in OBJECTIVES[name].needs:
        found = getattr(facts, label)
        if not found:
            raise ObjectiveError(
                f"objectives: {name} needs {label}, and no training clip has its {label[:-1]} stated; "
                f"add corpora that state it, or leave {name} out"
            )
        if len(found) == 1:
            raise ObjectiveError(
                f"objectives: {name} needs two {label} or more, and all training clips have the {label[:-1]} "
                f"{found[0]!r}; add other corpora, or leave {name} out"
            )
