# SPDX-License-Identifier: Apache-2.0
"""Emotion metrics: one function for this project, one `evaluate.Metric` module a figure for everybody else."""

from evaluation_mser.metrics.emotion_metrics import emotion_metrics


__all__ = ["emotion_metrics"]
