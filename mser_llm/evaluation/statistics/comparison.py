# SPDX-License-Identifier: Apache-2.0
"""Two systems, corpus by corpus: the figures of both, how far apart they are, and whether that is more than chance."""

from collections.abc import Sequence
from typing import Any

from mser_llm.evaluation.predictions import Predictions, PredictionsError
from mser_llm.evaluation.statistics.bootstrap import RESAMPLES, paired_difference, seed_statistics
from mser_llm.evaluation.statistics.significance import add_holm, mcnemar


def compare(
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    metric: str = "UA",
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Compares two systems on the clips that all runs of both have.

    Args:
        first, second: the runs of each system, one for each seed.
        metric: of `METRICS`.
        confidence, resamples, seed: as in `paired_difference`.

    Returns:
        JSON-ready: `metric`; `corpora`, by name as in `paired_difference`, with `p_holm` corrected for the number of
        corpora, `first` and `second` with `mean`, `std` and `values` of the runs, and, for one run of each system,
        `mcnemar`; `pooled`, the same of all clips where there are several corpora; `left_out`, the clips that a
        run has and another lacks.

    Raises:
        PredictionsError: no clip is shared, or the systems cannot be compared (see `Predictions.align`).
    """
    if not first or not second:
        raise PredictionsError("no predictions to compare; give at least one run of each system")
    runs = Predictions.shared([*first, *second])
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}

    def of(chosen: list[Predictions]) -> dict[str, Any]:
        firsts, seconds = chosen[: len(first)], chosen[len(first) :]
        made = paired_difference(firsts, seconds, metric, **options)
        for name, system in (("first", firsts), ("second", seconds)):
            made[name] = seed_statistics(system, [metric])[metric]
        if len(chosen) == 2:
            made["mcnemar"] = mcnemar(*chosen)
        return made

    corpora = {
        name: of([run.subset([corpus == name for corpus in run.corpora]) for run in runs])
        for name in dict.fromkeys(runs[0].corpora)
    }
    add_holm(list(corpora.values()))
    clips = {clip for run in [*first, *second] for clip in zip(run.corpora, run.ids)}
    results = {"metric": metric, "corpora": corpora, "left_out": len(clips) - len(runs[0])}
    return results | ({"pooled": of(runs)} if len(corpora) > 1 else {})
