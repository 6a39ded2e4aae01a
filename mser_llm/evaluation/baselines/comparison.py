# SPDX-License-Identifier: Apache-2.0
"""Compare several systems on the same clips: metrics, intervals, and the difference of each system to the last one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from mser_llm.evaluation.metrics.emotion_metrics import METRICS
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.bootstrap import RESAMPLES, intervals, paired_difference
from mser_llm.evaluation.statistics.significance import add_holm
from mser_llm.evaluation.tables import (
    DIFFERENCE_COLUMNS,
    difference_cells,
    format_table,
    metric_values,
    metric_with_interval,
    write_csv,
)
from mser_llm.io.atomic_files import atomic_open, write_json


@dataclass(frozen=True)
class System:
    """
    A system and its predictions.

    Attributes:
        name: as in the table.
        detail: the chosen settings, in a few words.
        predictions: by test corpus.
        facts: JSON-ready details that the table does not show.
    """

    name: str
    detail: str
    predictions: Mapping[str, Predictions]
    facts: Mapping[str, Any] = field(default_factory=dict)


def compare_systems(
    systems: Sequence[System],
    chance: Mapping[str, Mapping[str, Any]],
    layers: Sequence[System] = (),
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Compute the metrics of each system on each test corpus and its paired difference to the last system.

    Args:
        chance: by test corpus the result of `chance_level`.
        layers: probes of single layers, for a table of their own.

    Returns:
        `corpora`: by corpus one JSON-ready entry per system, chance first: `system`, `detail`, `facts`, `n`, each of
        `METRICS`, `recall` by label and `intervals` (None for too few speakers). `against` is the difference in UA to
        the last system on shared clips, as in `paired_difference`, with `p_holm` corrected over all systems and
        corpora; None for the last system and for chance, which is an expected value. `layers`: the same for `layers`,
        without `against`.
    """
    settings: dict[str, Any] = {"resamples": resamples, "seed": seed}
    last = systems[-1]
    table: dict[str, list[dict[str, Any]]] = {}
    for corpus, expected in chance.items():
        rows = [_row(system, corpus, settings) for system in systems]
        for system, row in zip(systems[:-1], rows):
            difference = paired_difference(system.predictions[corpus], last.predictions[corpus], "UA", **settings)
            row["against"] = {"system": last.name, **difference}
        table[corpus] = [{"system": "chance", "detail": "", **expected, "recall": None, "against": None}, *rows]
    add_holm([row["against"] for rows in table.values() for row in rows if row["against"] is not None])
    by_layer = {corpus: [_row(layer, corpus, settings) for layer in layers] for corpus in chance} if layers else {}
    return {"corpora": table, "layers": by_layer}


def _row(system: System, corpus: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    predictions = system.predictions[corpus]
    metrics = predictions.metrics()
    return {
        "system": system.name,
        "detail": system.detail,
        **{metric: metrics[metric] for metric in (*METRICS, "n", "recall")},
        "intervals": intervals(predictions, **settings),
        "against": None,
        "facts": dict(system.facts),
    }


def write_comparison(results: Mapping[str, Any], output_dir: str | PathLike) -> Path:
    """Write the result of `compare_systems` with a `leak` by system as `baselines.json`, `.csv` and `.md`."""
    output = Path(output_dir)
    write_json(output / "baselines.json", results)
    columns = ["corpus", "system", "detail", "n"]
    columns += [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
    rows = (
        {
            "corpus": corpus,
            **{key: row[key] for key in ("system", "detail", "n")},
            **metric_values(row, row["against"]),
        }
        for corpus, rows in results["corpora"].items()
        for row in rows
    )
    write_csv(output / "baselines.csv", [*columns, *DIFFERENCE_COLUMNS], rows)
    with atomic_open(output / "baselines.md") as file:
        file.write(markdown(results))
    return output / "baselines.md"


def markdown(results: Mapping[str, Any]) -> str:
    """Format leaks, the table of each corpus, and the table of its single layers."""
    parts = []
    for name, leak in results.get("leak", {}).items():
        if leak["found"]:
            parts.append(
                f"Leak: {name} was trained on speakers or recordings of {leak['clips']} of {leak['tested']} clips."
            )
    parts += [f"{name}: {leak['mark']}." for name, leak in results.get("leak", {}).items() if leak.get("mark")]
    for corpus, rows in results["corpora"].items():
        headers = ["system", "n", "UA", "WA", "WF1", "macro-F1", f"UA difference to {rows[-1]['system']}"]
        cells = [
            [
                f"{row['system']} ({row['detail']})" if row["detail"] else row["system"],
                str(row["n"]),
                *(metric_with_interval(row, metric) for metric in ("UA", "WA")),
                *(f"{row[metric]:.3f}" for metric in ("WF1", "macro_F1")),
                *difference_cells(row["against"]),
            ]
            for row in rows
        ]
        parts += [f"## {corpus}, {rows[-1]['n']} clips", format_table([*headers, "p", "p (Holm)"], cells)]
        parts.append("Brackets: 95 % intervals. p: two-sided, paired bootstrap over speakers.")
        if layers := results.get("layers", {}).get(corpus):
            headers = ["probe of layer", "C", "UA, held-out training speakers", "UA"]
            cells = [
                [
                    str(row["facts"]["layer"]),
                    f"{row['facts']['C']:g}",
                    f"{row['facts']['validation_UA']:.3f}",
                    metric_with_interval(row, "UA"),
                ]
                for row in layers
            ]
            parts.append(format_table(headers, cells, text_columns=()))
    return "\n\n".join(parts) + "\n"
