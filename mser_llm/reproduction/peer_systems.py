# SPDX-License-Identifier: Apache-2.0
"""MSER, the methods that it is compared with, and combinations of their parts, as training steps.

Each step is a recipe of one family (`configs/base`), with flags for the parts that are left out.
"""

from dataclasses import dataclass

from mser_llm.reproduction.systems import Effect, System, TrainingStep


ENGLISH, ALL = "English", "all languages"


@dataclass(frozen=True)
class RecipeStep(TrainingStep):
    """
    A training with a recipe.

    Attributes:
        folder: its part of the name of the run's folder, after that of the earlier step.
        recipe: a file of the family, without `.yaml`.
        flags: of `run-mser train`, which override the recipe.
        share: of the system's budget.
    """

    folder: str
    recipe: str
    flags: tuple[str, ...] = ()
    after: "RecipeStep | None" = None
    share: float = 1.0

    @property
    def name(self) -> str:
        return self.folder if self.after is None else f"{self.after.name}_{self.folder}"


_JOINT = ("--stage", "joint")
_WITHOUT_BOTH = ("--without", "supervised_contrast", "speaker_adversarial")
_SPEAKERS_STAGE = RecipeStep("voices", "speaker_contrast_stage1", share=0.5)

BASELINE, SPEAKER_CONTRAST, BYOL = "baseline", "speaker-contrastive", "BYOL"
MSER_ENGLISH, BASELINE_ALL = "MSER, English labels", "baseline, all labels"
FROZEN, FROZEN_CONTRAST = "frozen encoder", "frozen encoder + supervised contrast"
FROZEN_ADVERSARY = "frozen encoder + adversary"
FROZEN_BOTH = "frozen encoder + supervised contrast + adversary"
MSER = "MSER"


def _system(name: str, data: str, folder: str, recipe: str, *flags: str) -> System:
    return System(name, RecipeStep(folder, recipe, flags), data)


_SPEAKERS_STAGES = RecipeStep("emotions", "speaker_contrast_stage2", after=_SPEAKERS_STAGE, share=0.5)
_EMOTIONS = "emotion_discriminative"
PEERS = {
    system.name: system
    for system in (
        _system(BASELINE, ENGLISH, "baseline", "lowresource_baseline"),
        System(SPEAKER_CONTRAST, _SPEAKERS_STAGES, ENGLISH),
        _system(BYOL, ENGLISH, "byol", "byol"),
        _system(MSER_ENGLISH, ENGLISH, "mser-english", "joint", "--stage", "1"),
        _system(BASELINE_ALL, ALL, "baseline-all", "lowresource_baseline", *_JOINT, "--balance", "emotion_language"),
        _system(FROZEN, ALL, "frozen", _EMOTIONS, *_WITHOUT_BOTH),
        _system(FROZEN_CONTRAST, ALL, "frozen-contrast", _EMOTIONS, "--without", "speaker_adversarial"),
        _system(FROZEN_ADVERSARY, ALL, "frozen-adversary", _EMOTIONS, "--without", "supervised_contrast"),
        _system(FROZEN_BOTH, ALL, "frozen-both", _EMOTIONS),
        _system(MSER, ALL, "mser", "joint"),
    )
}
"""The methods, with the languages whose emotion labels they train on."""

_INSTEAD = ("--without", "margin_contrast", "speaker_adversarial")
COMBINATIONS = {
    system.name: system
    for system in (
        _system("MSER + supervised contrast", ALL, "mser-contrast", "combined", "--without", "speaker_adversarial"),
        _system("MSER + adversary", ALL, "mser-adversary", "combined", "--without", "supervised_contrast"),
        _system("MSER + supervised contrast + adversary", ALL, "mser-both", "combined"),
        _system("MSER with supervised contrast in place of Eq. (1)", ALL, "mser-instead", "combined", *_INSTEAD),
    )
}
"""Combinations; the one that is best on held-out speakers of the training corpora is compared."""


def effects(best: str) -> list[Effect]:
    """List the effect of each part; `best` is the combination that was selected."""
    return [
        Effect("speaker contrast", BASELINE, SPEAKER_CONTRAST),
        Effect("BYOL", BASELINE, BYOL),
        Effect("MSER for a classifier", BASELINE, MSER_ENGLISH),
        Effect("MSER for a classifier", BASELINE_ALL, MSER),
        Effect("labels of the other language", BASELINE, BASELINE_ALL),
        Effect("labels of the other language", MSER_ENGLISH, MSER),
        Effect("supervised contrast", FROZEN, FROZEN_CONTRAST),
        Effect("adversary", FROZEN, FROZEN_ADVERSARY),
        Effect("supervised contrast and adversary", FROZEN, FROZEN_BOTH),
        Effect("best combination", MSER, best),
    ]
