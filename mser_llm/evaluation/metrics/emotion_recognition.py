# SPDX-License-Identifier: Apache-2.0
"""Metrics of speech emotion recognition: WA, UA, WF1, macro-F1, precision, recalls, confusion matrix, unparsed rate.

`evaluate.load("mser_llm/evaluation/metrics/emotion_recognition.py").compute(predictions=…, references=…, labels=[…])`
"""

import datasets
import evaluate

from mser_llm.evaluation.metrics.emotion_metrics import emotion_metrics


INPUTS = """
Args:
    predictions: list of str, each one of `labels`, or "unparsed" if no label could be parsed from the generated text.
    references: list of str, each one of `labels`.
    labels: list of str, the fixed label list; a label without a reference has no recall and is left out of means.
"""


class EmotionRecognition(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str], labels: list[str]) -> dict:
        return emotion_metrics(references, predictions, labels)
