# SPDX-License-Identifier: Apache-2.0
"""Training objectives in addition to the model's own loss, one file each."""

from mser_llm.training.objectives.building import (
    OBJECTIVES,
    TrainingFacts,
    build_objectives,
    check_objectives,
)
from mser_llm.training.objectives.byol import BYOL, ViewedBatch
from mser_llm.training.objectives.margin_contrast import MarginContrast
from mser_llm.training.objectives.objective import UNKNOWN, Objective, ObjectiveBatch, ObjectiveError
from mser_llm.training.objectives.speaker_adversarial import SpeakerAdversarial
from mser_llm.training.objectives.speaker_contrast import SpeakerContrast
from mser_llm.training.objectives.supervised_contrast import SupervisedContrast


__all__ = [
    "BYOL",
    "OBJECTIVES",
    "UNKNOWN",
    "MarginContrast",
    "Objective",
    "ObjectiveBatch",
    "ObjectiveError",
    "SpeakerAdversarial",
    "SpeakerContrast",
    "SupervisedContrast",
    "TrainingFacts",
    "ViewedBatch",
    "build_objectives",
    "check_objectives",
]
