# SPDX-License-Identifier: Apache-2.0
"""Does a translation speak as its source did? Correlations of pitch, energy, pace and contour, clip by clip.

Each figure stands beside that of shuffled pairings: the source with another translation of the same speaker, so that
no voice is told from another; and, harder, of the same speaker and the same emotion, which tells whether the clip's
own manner came over or only that of its emotion.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata
from tqdm.auto import tqdm

from mser_llm.m5ser.analysis.measured_clips import MeasuredClips


COMPARED = ("f0_median", "f0_range", "energy", "rate", "tilt", "duration")
"""As in `SCALARS`; `duration` is the logarithm of `seconds`, so that a factor that is the same for all makes none."""
# A correlation over fewer says nothing.
FEWEST_PAIRS = 10


def compare_with_source(
    clips: MeasuredClips, *, permutations: int = 999, seed: int = 0, progress: bool = False
) -> dict[str, Any]:
    """Correlations between source and translation, for each language but the source's.

    Args:
        clips: the measurements.
        permutations: shuffled pairings.
        seed: of the shufflings.
        progress: shows a bar.

    Returns:
        By language: `pairs`; `duration_ratio` (`mean`, geometric, of translation to source, and `spread`: two thirds
        of the clips lie within this factor of the mean); for each of `COMPARED`, after each side's speaker mean is
        taken away, `pearson` and `spearman`, each with `value`, `interval` (95 %, Fisher's; None where the speakers
        have too few pairs), `shuffled` and `shuffled_same_emotion` (each `mean`, `interval`, `p`; the interval None
        where nobody has two pairs), and `pairs`; `f0_contour` likewise under `mean`, the mean over pairs of the
        correlation of the two courses of F0. A figure over fewer than `FEWEST_PAIRS` pairs is left out. Empty where
        there are no source clips.
    """
    if clips.source_language not in clips.languages:
        return {}
    source = clips.languages.index(clips.source_language)
    found = {}
    others = [code for code in clips.languages if code != clips.source_language]
    for code in tqdm(others, "pairings", unit="language", disable=not progress, dynamic_ncols=True):
        target = clips.languages.index(code)
        paired = np.isfinite(clips.spectra[[source, target], :, 0]).all(axis=0)
        figures: dict[str, Any] = {"pairs": int(paired.sum())}
        if figures["pairs"] < FEWEST_PAIRS:
            continue
        ratio = np.log(clips.scalar("seconds")[target] / clips.scalar("seconds")[source])[paired]
        figures["duration_ratio"] = {"mean": float(np.exp(ratio.mean())), "spread": float(np.exp(ratio.std()))}
        for number, name in enumerate(COMPARED):
            values = np.log(clips.scalar("seconds")) if name == "duration" else clips.scalar(name)
            rng = np.random.default_rng([seed, target, number])
            compared = _correlations(values[source], values[target], clips, permutations, rng)
            if compared:
                figures[name] = compared
        rng = np.random.default_rng([seed, target, len(COMPARED)])
        contours = _contours(clips.contours[source], clips.contours[target], clips, permutations, rng)
        if contours:
            figures["f0_contour"] = contours
        found[code] = figures
    return found


def less_group_mean(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """`(n,)` values less the mean of their group, which is numbered from 0 and occurs at least once."""
    return values - (np.bincount(group, values) / np.bincount(group))[group]


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the last axis; NaN where one side does not vary."""
    first = first - first.mean(axis=-1, keepdims=True)
    second = second - second.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (first * second).sum(axis=-1) / np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))


def fisher_interval(value: float, pairs: int, means_removed: int, rank: bool = False) -> list[float] | None:
    """95 % interval of a correlation; None where the means that were taken away leave too few pairs for one.

    Args:
        value: the correlation.
        pairs: it is over so many.
        means_removed: group means that were taken away before; each but the first costs a pair.
        rank: of ranks, whose variance is 1.06 times as large (Fieller, Hartley and Pearson 1957).
    """
    free = pairs - means_removed - 2
    if free < 1:
        return None
    reach = norm.ppf(0.975) * np.sqrt((1.06 if rank else 1.0) / free)
    middle = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    return [float(bound) for bound in np.tanh([middle - reach, middle + reach])]


def shuffled_within(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order `(n,)` that leaves every member in its group."""
    order = np.empty(len(group), dtype=int)
    order[np.argsort(group, kind="stable")] = np.lexsort((rng.random(len(group)), group))
    return order


def _groups(clips: MeasuredClips, known: np.ndarray) -> dict[str, np.ndarray]:
    """Who may be shuffled with whom, numbered from 0."""
    speaker = clips.corpus * (clips.speaker.max() + 1) + clips.speaker
    both = speaker * len(clips.emotions) + clips.emotion
    keys = {"shuffled": speaker, "shuffled_same_emotion": both}
    return {name: np.unique(key[known], return_inverse=True)[1] for name, key in keys.items()}


def _correlations(
    source: np.ndarray, target: np.ndarray, clips: MeasuredClips, permutations: int, rng: np.random.Generator
) -> dict[str, Any]:
    known = np.isfinite(source) & np.isfinite(target)
    if known.sum() < FEWEST_PAIRS:
        return {}
    groups = _groups(clips, known)
    speakers = groups["shuffled"]
    sides = [less_group_mean(side[known], speakers) for side in (source, target)]
    if min(side.std() for side in sides) < 1e-9:
        return {}
    figures: dict[str, Any] = {"pairs": int(known.sum())}
    for name, (first, second) in {"pearson": sides, "spearman": [rankdata(side) for side in sides]}.items():
        value = float(correlation(first, second))
        interval = fisher_interval(value, len(first), int(speakers.max()) + 1, rank=name == "spearman")
        figures[name] = {"value": value, "interval": interval}
        for kind, group in groups.items():
            orders = (shuffled_within(group, rng) for _ in range(permutations))
            shuffled = [float(correlation(first, second[order])) for order in orders]
            figures[name][kind] = _beside(value, shuffled, group)
    return figures


def _contours(
    source: np.ndarray, target: np.ndarray, clips: MeasuredClips, permutations: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The mean correlation of the two courses; flat ones are left out."""
    known = (np.nanstd(np.nan_to_num(np.stack([source, target])), axis=2) > 1e-6).all(axis=0)
    if known.sum() < FEWEST_PAIRS:
        return {}
    groups = _groups(clips, known)
    first, second = (side[known].astype(np.float64) for side in (source, target))
    each = correlation(first, second)
    reach = norm.ppf(0.975) * each.std(ddof=1) / np.sqrt(len(each))
    value = float(each.mean())
    figures: dict[str, Any] = {"value": value, "interval": [value - float(reach), value + float(reach)]}
    for kind, group in groups.items():
        orders = (shuffled_within(group, rng) for _ in range(permutations))
        figures[kind] = _beside(value, [float(correlation(first, second[order]).mean()) for order in orders], group)
    return {"pairs": len(each), "mean": figures}


def _beside(value: float, shuffled: list[float], group: np.ndarray) -> Mapping[str, Any]:
    reached = sum(other >= value - 1e-12 for other in shuffled)
    # Where everybody is alone in his group, each order is the true one.
    alone = len(np.unique(group)) == len(group)
    return {
        "mean": float(np.mean(shuffled)),
        "interval": None if alone else [float(bound) for bound in np.percentile(shuffled, [2.5, 97.5])],
        "p": (1 + reached) / (1 + len(shuffled)),
    }
