# SPDX-License-Identifier: Apache-2.0
"""The six systems of the paper's ablation (arXiv:2503.21806, Table II) as steps of training."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainingStep(ABC):
    """
    A training, and the earlier step whose model it starts from.

    Equal steps of two systems are trained once.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of its folder."""

    @property
    @abstractmethod
    def after(self) -> "TrainingStep | None":
        """The earlier step."""

    @property
    def chain(self) -> "tuple[TrainingStep, ...]":
        """All steps in order, this one last."""
        return (self,) if self.after is None else (*self.after.chain, self)


@dataclass(frozen=True)
class Step(TrainingStep):
    """A training of the ablation: its data, with or without the contrast."""

    stage: Literal["1", "2", "joint"]
    contrast: bool
    after: "Step | None" = None

    @property
    def name(self) -> str:
        """Such as `joint` or `stage1-contrast_stage2-contrast`."""
        own = ("joint" if self.stage == "joint" else f"stage{self.stage}") + ("-contrast" if self.contrast else "")
        return own if self.after is None else f"{self.after.name}_{own}"


@dataclass(frozen=True)
class System:
    """
    A system of the table.

    Attributes:
        name: as in the paper; `L_lec` is the contrast, `(S2)` the second stage.
        last: the step whose model is evaluated.
        data: the languages it is trained on.
    """

    name: str
    last: TrainingStep
    data: str


@dataclass(frozen=True)
class Effect:
    """The effect of a choice: a system with it compared with the same system without it."""

    choice: str
    without: str
    having: str


def _systems() -> Iterable[System]:
    for contrast, mark in ((False, ""), (True, " + L_lec")):
        first = Step("1", contrast)
        yield System(f"SER{mark}", first, "English")
        yield System(f"MSER{mark}", Step("joint", contrast), "multilingual")
        yield System(f"MSER{mark} (S2)", Step("2", contrast, first), "English, then multilingual")


ORDER = ("SER", "SER + L_lec", "MSER", "MSER + L_lec", "MSER (S2)", "MSER + L_lec (S2)")
SYSTEMS = {name: system for name in ORDER for system in _systems() if system.name == name}
FULL = SYSTEMS["MSER + L_lec (S2)"]
EFFECTS = (
    Effect("contrast", "SER", "SER + L_lec"),
    Effect("contrast", "MSER", "MSER + L_lec"),
    Effect("contrast", "MSER (S2)", "MSER + L_lec (S2)"),
    Effect("second stage", "MSER", "MSER (S2)"),
    Effect("second stage", "MSER + L_lec", "MSER + L_lec (S2)"),
    Effect("languages", "SER", "MSER"),
    Effect("languages", "SER + L_lec", "MSER + L_lec"),
)


def steps_of(systems: Iterable[System]) -> list[TrainingStep]:
    """List every step of the systems once, each after its earlier step."""
    return list(dict.fromkeys(step for system in systems for step in system.last.chain))
