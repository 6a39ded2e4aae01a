# SPDX-License-Identifier: Apache-2.0
"""What the `evaluate.Metric` modules of this folder share: their inputs and how they are described."""

import datasets
import evaluate


INPUTS = """
Args:
    predictions: list of str, each one of `labels`, or "unparsed" where no word could be read out of the answer.
    references: list of str, each one of `labels`.
    labels: list of str, the fixed label list; a label without a reference has no recall and is left out of means.
"""


def emotion_metric_info(description: str) -> evaluate.MetricInfo:
    return evaluate.MetricInfo(
        description=description,
        citation="",
        inputs_description=INPUTS,
        features=datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")}),
    )
