# SPDX-License-Identifier: Apache-2.0
"""Training objectives beside the model's own loss, one file each."""

from .building import OBJECTIVES, ObjectiveError, TrainingFacts, build_objectives, check_objectives
from .byol import BYOL, ViewedBatch
from .margin_contrast import MarginContrast
from .objective import UNKNOWN, Objective, ObjectiveBatch
from .speaker_adversarial import SpeakerAdversarial
from .speaker_contrast import SpeakerContrast
from .supervised_contrast import SupervisedContrast


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
