# SPDX-License-Identifier: Apache-2.0
"""Macro-F1: the plain mean of the F1 of the labels that occur in the references.

`evaluate.load("mser_llm/evaluation/metrics/macro_f1.py").compute(predictions=…, references=…, labels=[…])`
"""

import evaluate

from mser_llm.evaluation.metrics.emotion_metrics import emotion_metrics
from mser_llm.evaluation.metrics.metric_info import emotion_metric_info


class MacroF1(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return emotion_metric_info(__doc__)

    def _compute(self, predictions: list[str], references: list[str], labels: list[str]) -> dict:
        figures = emotion_metrics(references, predictions, labels)
        return {name: figures[name] for name in ("macro_F1", "supported_labels", "n")}
