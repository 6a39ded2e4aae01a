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
PEERS = {
    system.name: system
    for system in (
        System(BASELINE, RecipeStep("baseline", "lowresource_baseline"), ENGLISH),
        System(
            SPEAKER_CONTRAST,
            RecipeStep("emotions", "speaker_contrast_stage2", after=_SPEAKERS_STAGE, share=0.5),
            ENGLISH,
        ),
        System(BYOL, RecipeStep("byol", "byol"), ENGLISH),
        System(MSER_ENGLISH, RecipeStep("mser-english", "joint", ("--stage", "1")), ENGLISH),
        System(
            BASELINE_ALL,
            RecipeStep("baseline-all", "lowresource_baseline", (*_JOINT, "--balance", "emotion_language")),
            ALL,
        ),
        System(FROZEN, RecipeStep("frozen", "emotion_discriminative", _WITHOUT_BOTH), ALL),
        System(
            FROZEN_CONTRAST,
            RecipeStep("frozen-contrast", "emotion_discriminative", ("--without", "speaker_adversarial")),
            ALL,
        ),
        System(
            FROZEN_ADVERSARY,
            RecipeStep("frozen-adversary", "emotion_discriminative", ("--without", "supervised_contrast")),
            ALL,
        ),
        System(FROZEN_BOTH, RecipeStep("frozen-both", "emotion_discriminative"), ALL),
        System(MSER, RecipeStep("mser", "joint"), ALL),
    )
}
"""The methods, with the languages whose emotion labels they train on."""

COMBINATIONS = {
    system.name: system
    for system in (
        System(
            "MSER + supervised contrast",
            RecipeStep("mser-contrast", "combined", ("--without", "speaker_adversarial")),
            ALL,
        ),
        System(
            "MSER + adversary", RecipeStep("mser-adversary", "combined", ("--without", "supervised_contrast")), ALL
        ),
        System("MSER + supervised contrast + adversary", RecipeStep("mser-both", "combined"), ALL),
        System(
            "MSER with supervised contrast in place of Eq. (1)",
            RecipeStep("mser-instead", "combined", ("--without", "margin_contrast", "speaker_adversarial")),
            ALL,
        ),
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
