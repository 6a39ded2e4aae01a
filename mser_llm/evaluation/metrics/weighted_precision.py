# SPDX-License-Identifier: Apache-2.0
"""Precision of each label, averaged by its number of references; a label never predicted counts as zero.

`evaluate.load("mser_llm/evaluation/metrics/weighted_precision.py").compute(predictions=…, references=…, labels=[…])`
"""

import evaluate

from mser_llm.evaluation.metrics.emotion_metrics import emotion_metrics
from mser_llm.evaluation.metrics.metric_info import emotion_metric_info


class WeightedPrecision(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return emotion_metric_info(__doc__)

    def _compute(self, predictions: list[str], references: list[str], labels: list[str]) -> dict:
        figures = emotion_metrics(references, predictions, labels)
        return {name: figures[name] for name in ("precision", "n")}
