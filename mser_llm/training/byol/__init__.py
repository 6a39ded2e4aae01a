# SPDX-License-Identifier: Apache-2.0
"""Adaptation by BYOL: what surrounds the objective `byol` in a training."""

from mser_llm.training.byol.adaptation import BYOLAdaptation
from mser_llm.training.byol.collapse import COLLAPSED, steps_below
from mser_llm.training.byol.target import MomentumTarget
from mser_llm.training.byol.views import ViewStrength


__all__ = ["COLLAPSED", "BYOLAdaptation", "MomentumTarget", "ViewStrength", "steps_below"]
