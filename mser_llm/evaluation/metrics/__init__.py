# SPDX-License-Identifier: Apache-2.0
"""Emotion metrics: one function for this project, one `evaluate.Metric` module a figure for everybody else."""

from mser_llm.evaluation.metrics.emotion_metrics import emotion_metrics


__all__ = ["emotion_metrics"]
