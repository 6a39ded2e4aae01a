# SPDX-License-Identifier: Apache-2.0
"""Test whether translations keep the prosody of their sources: correlations of pitch, energy, rate and contour.

Each correlation is compared with shuffled pairs: the source with another translation of the same speaker, which cannot
be explained by speaker differences; and, stricter, of the same speaker and emotion, which shows whether the prosody of
the clip itself was kept or only that of its emotion.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata
from tqdm.auto import tqdm

from mser_llm.m5ser.analysis.cell_distances import number_groups, shuffle_within
from mser_llm.m5ser.analysis.measured_clips import MeasuredClips


COMPARED = ("f0_median", "f0_range", "energy", "rate", "tilt", "duration")
"""As in `SCALARS`; `duration` is the logarithm of `seconds`, so that a constant factor has no effect."""
# Correlations over fewer pairs are omitted.
MIN_PAIRS = 10


def compare_with_source(
    clips: MeasuredClips, *, permutations: int = 999, seed: int = 0, progress: bool = False
) -> dict[str, Any]:
    """Correlate source and translation, for each language except the source language.

    Returns:
        By language: `pairs`; `duration_ratio`: geometric `mean` of translation to source, and `spread`, the factor
        around it that covers two thirds of the clips; for each of `COMPARED`, after subtracting the speaker means on
        both sides, `pairs`, `pearson` and `spearman`, each with `value`, `interval` (95 %, Fisher's; None with too few
        pairs per speaker), `shuffled` and `shuffled_same_emotion` (each `mean`, `interval`, `p`; no interval if no
        speaker has two pairs); `f0_contour` likewise under `mean`: the mean over pairs of the correlation of the two
        F0 contours. Values over fewer than `MIN_PAIRS` pairs are omitted. Empty without source clips.
    """
    if clips.source_language not in clips.languages:
        return {}
    source = clips.languages.index(clips.source_language)
    found = {}
    others = [code for code in clips.languages if code != clips.source_language]
    for code in tqdm(others, "pairings", unit="language", disable=not progress, dynamic_ncols=True):
        target = clips.languages.index(code)
        paired = np.isfinite(clips.spectra[[source, target], :, 0]).all(axis=0)
        result: dict[str, Any] = {"pairs": int(paired.sum())}
        if result["pairs"] < MIN_PAIRS:
            continue
        ratio = np.log(clips.scalar("seconds")[target] / clips.scalar("seconds")[source])[paired]
        result["duration_ratio"] = {"mean": float(np.exp(ratio.mean())), "spread": float(np.exp(ratio.std()))}
        for number, name in enumerate(COMPARED):
            values = np.log(clips.scalar("seconds")) if name == "duration" else clips.scalar(name)
            rng = np.random.default_rng([seed, target, number])
            compared = _correlations(values[source], values[target], clips, permutations, rng)
            if compared:
                result[name] = compared
        rng = np.random.default_rng([seed, target, len(COMPARED)])
        contours = _contours(clips.contours[source], clips.contours[target], clips, permutations, rng)
        if contours:
            result["f0_contour"] = contours
        found[code] = result
    return found


def subtract_group_mean(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Subtract from values `(n,)` the mean of their group; groups are numbered from 0, none of them empty."""
    return values - (np.bincount(group, values) / np.bincount(group))[group]


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation along the last axis; NaN if one side is constant."""
    first = first - first.mean(axis=-1, keepdims=True)
    second = second - second.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (first * second).sum(axis=-1) / np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))


def fisher_interval(value: float, pairs: int, means_removed: int, rank: bool = False) -> list[float] | None:
    """Return the 95 % interval of a correlation; None with too few degrees of freedom.

    Each subtracted group mean but the first costs a degree of freedom. The variance of a rank correlation is 1.06
    times as large (Fieller, Hartley and Pearson 1957).
    """
    freedom = pairs - means_removed - 2
    if freedom < 1:
        return None
    half_width = norm.ppf(0.975) * np.sqrt((1.06 if rank else 1.0) / freedom)
    middle = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    return [float(bound) for bound in np.tanh([middle - half_width, middle + half_width])]


def _groups(clips: MeasuredClips, known: np.ndarray) -> dict[str, np.ndarray]:
    """Return the groups to shuffle within, numbered from 0."""
    speaker = (clips.corpus[known], clips.speaker[known])
    return {
        "shuffled": number_groups(*speaker),
        "shuffled_same_emotion": number_groups(*speaker, clips.emotion[known]),
    }


def _correlations(
    source: np.ndarray, target: np.ndarray, clips: MeasuredClips, permutations: int, rng: np.random.Generator
) -> dict[str, Any]:
    known = np.isfinite(source) & np.isfinite(target)
    if known.sum() < MIN_PAIRS:
        return {}
    groups = _groups(clips, known)
    speakers = groups["shuffled"]
    sides = [subtract_group_mean(side[known], speakers) for side in (source, target)]
    if min(side.std() for side in sides) < 1e-9:
        return {}
    result: dict[str, Any] = {"pairs": int(known.sum())}
    for name, (first, second) in {"pearson": sides, "spearman": [rankdata(side) for side in sides]}.items():
        value = float(correlation(first, second))
        interval = fisher_interval(value, len(first), int(speakers.max()) + 1, rank=name == "spearman")
        shuffled = _shuffled(first, second, value, groups, permutations, rng)
        result[name] = {"value": value, "interval": interval, **shuffled}
    return result


def _contours(
    source: np.ndarray, target: np.ndarray, clips: MeasuredClips, permutations: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return the mean correlation of the F0 contours, ignoring constant ones."""
    known = (np.nanstd(np.nan_to_num(np.stack([source, target])), axis=2) > 1e-6).all(axis=0)
    if known.sum() < MIN_PAIRS:
        return {}
    groups = _groups(clips, known)
    first, second = (side[known].astype(np.float64) for side in (source, target))
    each = correlation(first, second)
    half_width = norm.ppf(0.975) * each.std(ddof=1) / np.sqrt(len(each))
    value = float(each.mean())
    result: dict[str, Any] = {"value": value, "interval": [value - float(half_width), value + float(half_width)]}
    return {"pairs": len(each), "mean": result | _shuffled(first, second, value, groups, permutations, rng)}


def _shuffled(
    first: np.ndarray,
    second: np.ndarray,
    value: float,
    groups: Mapping[str, np.ndarray],
    permutations: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Compare a mean correlation with those of pairs shuffled within each kind of groups."""
    found = {}
    for kind, group in groups.items():
        orders = (shuffle_within(group, rng) for _ in range(permutations))
        shuffled = [float(correlation(first, second[order]).mean()) for order in orders]
        # In groups of one, every permutation is the true pairing.
        fixed = len(np.unique(group)) == len(group)
        found[kind] = {
            "mean": float(np.mean(shuffled)),
            "interval": None if fixed else [float(bound) for bound in np.percentile(shuffled, [2.5, 97.5])],
            "p": (1 + sum(other >= value - 1e-12 for other in shuffled)) / (1 + permutations),
        }
    return found
