# SPDX-License-Identifier: Apache-2.0
"""Adaptation by BYOL: what surrounds the objective `byol` in a training."""

from .adaptation import BYOLAdaptation
from .collapse import COLLAPSED, steps_below
from .target import MomentumTarget
from .views import ViewStrength


__all__ = ["COLLAPSED", "BYOLAdaptation", "MomentumTarget", "ViewStrength", "steps_below"]
