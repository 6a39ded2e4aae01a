# SPDX-License-Identifier: Apache-2.0
"""Emotion metrics: one function for this project, and one `evaluate.Metric` for other programs."""

from mser_llm.evaluation.metrics.emotion_metrics import METRICS, emotion_metrics, metrics_from_counts


__all__ = ["METRICS", "emotion_metrics", "metrics_from_counts"]
