# SPDX-License-Identifier: Apache-2.0
"""Tables of published results with one's own below."""

from collections.abc import Mapping
from typing import Any

from mser_llm.evaluation.protocols.protocol import Protocol, Published
from mser_llm.evaluation.tables import METRIC_NAMES, format_metric, format_table


MEASURED = "measured here"


def published_table(protocol: Protocol, metrics: Mapping[str, Any] | None = None) -> tuple[list[str], list[list[str]]]:
    """
    Return the headers and rows of the published results.

    Args:
        protocol: the protocol whose results were published.
        metrics: of one's own system on the complete test, as in `emotion_metrics`, for a last row named `MEASURED`.

    Returns:
        headers `system`, one per metric that was published (all metrics if none was), and `where`; and the cells of
        one row per published system.
    """
    systems: dict[tuple[str, str], dict[str, Published]] = {}
    for one in protocol.published:
        name = one.system + (f", {one.group} only" if one.group else "")
        systems.setdefault((name, one.where), {})[one.metric] = one
    columns = [metric for metric in METRIC_NAMES if any(metric in values for values in systems.values())]
    columns = columns or list(METRIC_NAMES)
    rows = [
        [name, *(format_metric(found.value, found.std) if (found := values.get(m)) else "–" for m in columns), where]
        for (name, where), values in systems.items()
    ]
    if metrics is not None:
        rows.append([MEASURED, *(format_metric(metrics[metric]) for metric in columns), ""])
    return ["system", *(METRIC_NAMES[metric] for metric in columns), "where"], rows


def format_published(protocol: Protocol, metrics: Mapping[str, Any] | None = None) -> str:
    """Format `published_table` as aligned text."""
    return format_table(*published_table(protocol, metrics), style="text", text_columns=(0, -1))
