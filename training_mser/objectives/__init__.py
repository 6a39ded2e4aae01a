# SPDX-License-Identifier: Apache-2.0
"""Training objectives beside the model's own loss, one file each."""

from .building import OBJECTIVES, ObjectiveError, TrainingFacts, build_objectives, check_objectives
from .margin_contrast import MarginContrast
from .objective import UNKNOWN, Objective, ObjectiveBatch
from .speaker_adversarial import SpeakerAdversarial
from .speaker_contrast import SpeakerContrast
from .supervised_contrast import SupervisedContrast


__all__ = [
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
    "build_objectives",
    "check_objectives",
]
