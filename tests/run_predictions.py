# SPDX-License-Identifier: Apache-2.0
"""Read truths and predictions from a run's `predictions.csv`."""

import csv
from pathlib import Path


def truths_and_predictions(run: Path) -> tuple[list[str], list[str]]:
    """Return truths and predicted labels of a run of `reproduce`."""
    with (run / "test" / "predictions.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [line["emotion"] for line in lines], [line["prediction"] for line in lines]
