# SPDX-License-Identifier: Apache-2.0
"""Compare two systems per corpus: metrics, paired difference and significance."""

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
    Compare two systems on the clips that all their runs share.

    Args:
        first, second: the runs of each system, one per seed.
        metric: of `METRICS`.
        confidence, resamples, seed: as in `paired_difference`.

    Returns:
        JSON-ready: `metric`; `corpora`, by name as in `paired_difference`, with `p_holm` corrected for the number of
        corpora, `first` and `second` with `mean`, `std` and `values` of the runs, and, for one run of each system,
        `mcnemar`; `pooled`, the same for all clips of several corpora; `left_out`, the number of clips that only some
        runs have.

    Raises:
        PredictionsError: no clip is shared, or the systems cannot be compared (see `Predictions.align`).
    """
    if not first or not second:
        raise PredictionsError("predictions", "a system has no run", "pass at least one run of each system")
    runs = Predictions.shared([*first, *second])
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}

    def compare_runs(chosen: list[Predictions]) -> dict[str, Any]:
        firsts, seconds = chosen[: len(first)], chosen[len(first) :]
        result = paired_difference(firsts, seconds, metric, **options)
        for name, system in (("first", firsts), ("second", seconds)):
            result[name] = seed_statistics(system, [metric])[metric]
        if len(chosen) == 2:
            result["mcnemar"] = mcnemar(*chosen)
        return result

    corpora = {name: compare_runs([run.of_corpus(name) for run in runs]) for name in dict.fromkeys(runs[0].corpora)}
    add_holm(list(corpora.values()))
    clips = {clip for run in [*first, *second] for clip in zip(run.corpora, run.ids)}
    results = {"metric": metric, "corpora": corpora, "left_out": len(clips) - len(runs[0])}
    return results | ({"pooled": compare_runs(runs)} if len(corpora) > 1 else {})
