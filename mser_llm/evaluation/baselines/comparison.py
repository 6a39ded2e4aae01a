# SPDX-License-Identifier: Apache-2.0
"""Several systems over the same clips in one table: figures, intervals, and each system against the last one."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from mser_llm.evaluation.metrics.emotion_metrics import METRICS
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.bootstrap import RESAMPLES, intervals, paired_difference
from mser_llm.evaluation.statistics.significance import holm_correction
from mser_llm.io.atomic_files import atomic_open, write_json


@dataclass(frozen=True)
class System:
    """
    Something that answers clips.

    Attributes:
        name: as in the table.
        detail: what was chosen for it, in a few words.
        predictions: by test corpus.
        facts: JSON-ready, what the table has no room for.
    """

    name: str
    detail: str
    predictions: Mapping[str, Predictions]
    facts: Mapping[str, Any] = field(default_factory=dict)


def compare_systems(
    systems: Sequence[System],
    guessed: Mapping[str, Mapping[str, Any]],
    layers: Sequence[System] = (),
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Each system's figures on each test corpus, and its paired difference to the last system.

    Args:
        systems: in the order of the table, at least one.
        guessed: of each corpus what `chance` gives.
        layers: probes of each layer, for a table of their own.
        resamples, seed: of the bootstrap, which draws speakers.

    Returns:
        `corpora`: of each corpus one JSON-ready entry a system, chance first: `system`, `detail`, `facts`, `n`, the
        figures of `METRICS`, `recall` by word and `intervals` (None where there are too few speakers). `against` is
        the difference in UA to the last system on shared clips, as in `paired_difference`, with `p_holm` corrected
        over all systems and corpora of the table; None for the last system and for chance, which is an expected value
        and no system. `layers`: the same of `layers`, without `against`.
    """
    settings: dict[str, Any] = {"resamples": resamples, "seed": seed}
    last = systems[-1]
    table: dict[str, list[dict[str, Any]]] = {}
    for corpus, given in guessed.items():
        chance = {"system": "chance", "detail": "", **given, "recall": None, "against": None}
        rows = [_row(system, corpus, settings) for system in systems]
        for system, row in zip(systems[:-1], rows):
            pair = system.predictions[corpus].align(last.predictions[corpus])
            row["against"] = {"system": last.name, **paired_difference(*pair, "UA", **settings)}
        table[corpus] = [chance, *rows]
    tested = [
        row["against"]
        for rows in table.values()
        for row in rows
        if row["against"] is not None and row["against"]["p"] is not None
    ]
    for against, adjusted in zip(tested, holm_correction([against["p"] for against in tested]), strict=True):
        against["p_holm"] = float(adjusted)
    own = {corpus: [_row(layer, corpus, settings) for layer in layers] for corpus in guessed} if layers else {}
    return {"corpora": table, "layers": own}


def _row(system: System, corpus: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    predictions = system.predictions[corpus]
    figures, bounds = predictions.metrics(), intervals(predictions, METRICS, **settings)
    return {
        "system": system.name,
        "detail": system.detail,
        **{metric: figures[metric] for metric in (*METRICS, "n", "recall")},
        "intervals": None if bounds is None else {key: list(of) for key, of in bounds.items()},
        "against": None,
        "facts": dict(system.facts),
    }


def write_comparison(results: Mapping[str, Any], output_dir: str | PathLike) -> Path:
    """Writes `baselines.json`, `baselines.csv` and `baselines.md`, each whole or not at all; returns the last.

    Args:
        results: what `compare_systems` gives, `leak` by system as `LeakReport.as_dict` has it, and whatever else is to
            stand in the JSON.
        output_dir: is made if need be.
    """
    output = Path(output_dir)
    write_json(output / "baselines.json", results)
    with atomic_open(output / "baselines.csv") as file:
        columns = ["corpus", "system", "detail", "n"]
        for metric in METRICS:
            columns += [metric, f"{metric}_low", f"{metric}_high"]
        columns += ["UA_difference", "UA_difference_low", "UA_difference_high", "p", "p_holm"]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for corpus, rows in results["corpora"].items():
            writer.writerows(_cells(corpus, row) for row in rows)
    with atomic_open(output / "baselines.md") as file:
        file.write(markdown(results))
    return output / "baselines.md"


def markdown(results: Mapping[str, Any]) -> str:
    """The tables of all corpora, below each the probe of every layer, and above all what was heard in training."""
    leaks = {name: leak for name, leak in results.get("leak", {}).items() if leak["found"]}
    lines = [
        f"Leak: {name} heard speakers or recordings of {leak['clips']} of {leak['tested']} tested clips in training.\n"
        for name, leak in leaks.items()
    ]
    lines += [f"{name}: {leak['mark']}.\n" for name, leak in results.get("leak", {}).items() if leak.get("mark")]
    for corpus, rows in results["corpora"].items():
        last = rows[-1]["system"]
        lines += [f"## {corpus}, {rows[-1]['n']} clips", ""]
        lines += [f"| system | n | UA | WA | WF1 | macro-F1 | UA less that of {last} | p | p (Holm) |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
        for row in rows:
            name = f"{row['system']} ({row['detail']})" if row["detail"] else row["system"]
            figures = [_with_interval(row, metric) for metric in ("UA", "WA")]
            figures += [f"{row[metric]:.3f}" for metric in ("WF1", "macro_F1")]
            lines.append(f"| {' | '.join([name, str(row['n']), *figures, *_against(row['against'])])} |")
        lines += ["", "Brackets: 95 % intervals. p: two-sided, paired bootstrap over speakers.", ""]
        layers = results.get("layers", {}).get(corpus, [])
        if layers:
            lines += ["| probe of layer | C | UA, held-out training speakers | UA |", "|---:|---:|---:|---:|"]
            lines += [
                f"| {row['facts']['layer']} | {row['facts']['C']:g} | {row['facts']['validation_UA']:.3f} "
                f"| {_with_interval(row, 'UA')} |"
                for row in layers
            ]
            lines.append("")
    return "\n".join(lines)


def _cells(corpus: str, row: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {"corpus": corpus, **{key: row[key] for key in ("system", "detail", "n", *METRICS)}}
    for metric, (low, high) in (row["intervals"] or {}).items():
        cells |= {f"{metric}_low": low, f"{metric}_high": high}
    if row["against"] is not None:
        against = row["against"]
        cells |= {"UA_difference": against["difference"], "p": against["p"], "p_holm": against.get("p_holm")}
        cells |= {"UA_difference_low": against["low"], "UA_difference_high": against["high"]}
    return cells


def _with_interval(row: Mapping[str, Any], metric: str) -> str:
    if not row["intervals"]:
        return f"{row[metric]:.3f}"
    low, high = row["intervals"][metric]
    return f"{row[metric]:.3f} [{low:.3f}, {high:.3f}]"


def _against(against: Mapping[str, Any] | None) -> Sequence[str]:
    if against is None:
        return ["", "", ""]
    if against["p"] is None:
        return [f"{against['difference']:+.3f}", "", ""]
    bounds = f"[{against['low']:+.3f}, {against['high']:+.3f}]"
    return [f"{against['difference']:+.3f} {bounds}", f"{against['p']:.3f}", f"{against['p_holm']:.3f}"]
