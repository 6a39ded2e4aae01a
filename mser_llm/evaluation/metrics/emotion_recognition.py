# SPDX-License-Identifier: Apache-2.0
"""All figures of speech emotion recognition at once: WA, UA, WF1, macro-F1, precision, recalls, confusion, unparsed.

`evaluate.load("mser_llm/evaluation/metrics/emotion_recognition.py").compute(predictions=…, references=…, labels=[…])`
"""

import evaluate

from mser_llm.evaluation.metrics.emotion_metrics import emotion_metrics
from mser_llm.evaluation.metrics.metric_info import emotion_metric_info


class EmotionRecognition(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return emotion_metric_info(__doc__)

    def _compute(self, predictions: list[str], references: list[str], labels: list[str]) -> dict:
        return emotion_metrics(references, predictions, labels)
