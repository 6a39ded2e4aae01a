# SPDX-License-Identifier: Apache-2.0
"""Build the objectives that a recipe names."""

import difflib
import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mser_llm.training.number_bounds import FINITE, NOT_NEGATIVE
from mser_llm.training.objectives.byol import BYOL
from mser_llm.training.objectives.margin_contrast import MarginContrast
from mser_llm.training.objectives.objective import Objective, ObjectiveError
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
# Pairs of objectives that work against each other, and why.
CONFLICTS = {
    ("speaker_adversarial", "speaker_contrast"): "one removes the speaker from the embedding, the other adds it",
}


@dataclass(frozen=True)
class TrainingFacts:
    """What objectives depend on. A clip's label is the index among the values of the training clips."""

    embedding_size: int
    emotions: Sequence[str]
    languages: Sequence[str]
    speakers: Sequence[str]


def build_objectives(
    section: Mapping[str, Mapping[str, Any] | None], facts: TrainingFacts
) -> dict[str, tuple[float, Objective]]:
    """
    Build the objectives that a recipe names.

    Args:
        section: name to options: `weight` (1.0; 0 leaves the objective out) and the arguments of its class, except
            those that the facts fill in.
        facts: of this training.

    Returns:
        Name to weight and objective.

    Raises:
        ObjectiveError: an unknown name or option, an invalid value, labels that the training clips lack, or
            objectives that conflict.
    """
    built = {}
    for name, given in section.items():
        if name not in OBJECTIVES:
            raise ObjectiveError("objectives", f"unknown objective {name!r}", f"pass {', '.join(OBJECTIVES)}")
        options = _checked_options(name, given)
        weight = float(options.pop("weight", 1.0))
        if weight > 0:
            _check_labels(name, facts)
            known = {"embedding_size": facts.embedding_size, "num_speakers": len(facts.speakers)}
            own = inspect.signature(OBJECTIVES[name]).parameters
            built[name] = (weight, OBJECTIVES[name](**options, **{key: known[key] for key in own if key in known}))
            if options.get("cross_language_weight", 1) != 1 and len(facts.languages) < 2:
                languages = ", ".join(facts.languages) or "no known language"
                warnings.warn(
                    f"{name}: cross_language_weight has no effect, because all training clips are in {languages}",
                    stacklevel=2,
                )
    for pair, reason in CONFLICTS.items():
        if built.keys() >= {*pair}:
            raise ObjectiveError(f"objectives: {', '.join(pair)}", f"they conflict: {reason}", "keep one of them")
    return built


def check_objectives(section: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Raise what `build_objectives` raises for any data, before the data are read."""
    any_two = ("one", "another")
    build_objectives(section, TrainingFacts(1, any_two, any_two, any_two))


def _checked_options(name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check the names, the types and the ranges of the options."""
    objective = OBJECTIVES[name]
    if not isinstance(given, Mapping | None):
        raise ObjectiveError(f"objectives: {name}", f"{given!r} is not a section", "pass one such as {weight: 0.5}")
    defaults = {"weight": 1.0} | {
        parameter.name: parameter.default
        for parameter in inspect.signature(objective).parameters.values()
        if parameter.default is not inspect.Parameter.empty
    }
    options = dict(given or {})
    for option, value in options.items():
        source = f"objectives: {name}: {option}"
        if option not in defaults:
            near = difflib.get_close_matches(str(option), list(defaults), n=1)
            fix = f"did you mean {near[0]}?" if near else f"pass {', '.join(defaults)}"
            raise ObjectiveError(source, "unknown option", fix)
        # An int is a valid float; a bool, which is an int in Python, is neither.
        kind = type(defaults[option])
        kinds = (int, float) if kind is float else kind
        if isinstance(value, bool) or not isinstance(value, kinds):
            wanted = {float: "a number", int: "an integer", str: "a word"}[kind]
            raise ObjectiveError(source, f"{value!r} is not {wanted}", f"pass {wanted}")
        choices = objective.choices.get(option)
        bounds = NOT_NEGATIVE if option == "weight" else objective.bounds.get(option, FINITE)
        if choices is not None and value not in choices:
            raise ObjectiveError(source, f"unknown value {value!r}", f"pass {' or '.join(choices)}")
        if kind is not str and not (math.isfinite(value) and bounds.contains(value)):
            raise ObjectiveError(source, f"{value} is out of range", f"pass {bounds.text}")
    return options


def _check_labels(name: str, facts: TrainingFacts) -> None:
    for label in OBJECTIVES[name].needs:
        found = getattr(facts, label)
        if len(found) < 2:
            known = f"all training clips have the {label[:-1]} {found[0]!r}" if found else "no training clip has one"
            raise ObjectiveError(
                f"objectives: {name}",
                f"it needs two {label} or more, and {known}",
                f"add corpora or leave {name} out",
            )
