# SPDX-License-Identifier: Apache-2.0
"""Does an emotion sound alike in all languages? Distances between cells, tested against shuffled emotion names.

A cell is one emotion in one language and one source corpus; it stands for the mean of its clips. Pairs of cells of
different languages are compared: those of one emotion should lie nearer together than those of different emotions.

The translations of a clip share its speaker, its room and its accidents, so that cells of one emotion, which hold
translations of the same clips, would lie near each other even if emotion did nothing. Therefore only clips of
different speakers are compared: from the squared distance of two means, |a|^2 + |b|^2 - 2 a.b, the products of a
speaker with himself are left out of a.b. Squares, because then emotions that are strong in each language, but in
another way in each, come out even.

Two tests, and `p` is the larger of the two:

- `p_clips`: the emotions of the SOURCE clips are shuffled among the clips of one speaker, and every translation takes
  the emotion of its source. If emotion left no trace in the sound, each such arrangement would have been as likely as
  the true one: exact, whatever translations share. Shuffling cells would not be, because cells of several languages
  hold the same accidents. But a trace in one language alone widens the true statistic and not the shuffled ones.
- `p_speakers`: Student's t of the logarithm of the ratio, its error from leaving out groups of speakers in turn. That
  holds for emotions which every language expresses in a way of its own, and needs a good handful of speakers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import t as student
from tqdm.auto import tqdm


# A mean over fewer clips is left out.
FEWEST_CLIPS = 3
_MOST_GROUPS = 20
_UNITS_AT_ONCE = 64


@dataclass(frozen=True)
class Design:
    """Which source clip is of which kind.

    Attributes:
        emotion, corpus: int arrays `(num_sources,)`, each numbered from 0.
        speaker: likewise; clips of one corpus with one number have their mean taken away together.
        unit: likewise; clips with one number are not compared with each other.
        num_emotions, num_corpora: how many numbers there are.
    """

    emotion: np.ndarray
    corpus: np.ndarray
    speaker: np.ndarray
    unit: np.ndarray
    num_emotions: int
    num_corpora: int

    def shuffled(self, rng: np.random.Generator) -> "Design":
        """Emotions dealt out anew among the clips of each speaker of a corpus."""
        places = np.lexsort((self.speaker, self.corpus))
        drawn = np.lexsort((rng.random(len(self.emotion)), self.speaker, self.corpus))
        emotion = np.empty_like(self.emotion)
        emotion[places] = self.emotion[drawn]
        return replace(self, emotion=emotion)

    def take(self, chosen: np.ndarray) -> "Design":
        """The design of some of the sources."""
        kept = (self.emotion[chosen], self.corpus[chosen], self.speaker[chosen], self.unit[chosen])
        return Design(*kept, self.num_emotions, self.num_corpora)


def independent_units(corpus: np.ndarray, speaker: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Numbers of what is independent, `(num_sources,)`: the speaker where several are known, else the clip itself.

    Args:
        corpus, speaker: as in `Design`.
        known: bool array, whether the clip's speaker is known.
    """
    own = np.arange(len(corpus)) + speaker.max() + 1
    unit = np.where(known, speaker, own)
    for number in np.unique(corpus):
        (within,) = np.nonzero(corpus == number)
        if len(np.unique(unit[within])) < 2:
            unit[within] = own[within]
    return np.unique(np.stack([corpus, unit]), axis=1, return_inverse=True)[1]


def relative_to_speaker(features: np.ndarray, design: Design) -> np.ndarray:
    """Features less the mean of the same speaker in the same language, which takes the language's own mean with it.

    Args:
        features: `(num_languages, num_sources, size)`, NaN where a clip is missing.
    """
    group = np.unique(np.stack([design.corpus, design.speaker]), axis=1, return_inverse=True)[1]
    sums, counts = _grouped(features, group, int(group.max()) + 1)
    return features - (sums / np.maximum(counts, 1)[..., None])[:, group]


def in_standard_deviations(features: np.ndarray) -> np.ndarray:
    """Each feature divided by its standard deviation over all clips, so that semitones and decibels can be added."""
    deviation = np.nanstd(features, axis=(0, 1))
    return features / np.where(deviation > 0, deviation, 1)


def cell_means(features: np.ndarray, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Means and numbers of clips of all cells.

    Args:
        features: `(num_languages, num_sources, size)`; a clip with any NaN is left out.

    Returns:
        `(num_languages, num_corpora, num_emotions, size)`, NaN for a cell without clips, and the counts without the
        last axis.
    """
    group = design.corpus * design.num_emotions + design.emotion
    sums, counts = _grouped(features, group, design.num_corpora * design.num_emotions)
    with np.errstate(invalid="ignore"):
        means = sums / counts[..., None]
    shape = (len(features), design.num_corpora, design.num_emotions)
    return means.reshape(*shape, -1), counts.reshape(shape)


@dataclass(frozen=True)
class CellSums:
    """What the distances are made of; those of two disjoint sets of units add up.

    Attributes:
        sums, counts: of the clips of each cell, `(num_cells, size)` and `(num_cells,)`, in the order of `cell_means`.
        own_products: for each two cells the sum of the products of clips of one unit, `(num_cells, num_cells)`.
        own_pairs: how many such products there are.
    """

    sums: np.ndarray
    counts: np.ndarray
    own_products: np.ndarray
    own_pairs: np.ndarray

    def less(self, other: "CellSums") -> "CellSums":
        """Without the units of another."""
        return CellSums(
            self.sums - other.sums,
            self.counts - other.counts,
            self.own_products - other.own_products,
            self.own_pairs - other.own_pairs,
        )

    def distances(self) -> np.ndarray:
        """Mean squared differences between the cells, over clips of different units only.

        Returns:
            `(num_cells, num_cells)`, the mean over the features; NaN where a cell has fewer than `FEWEST_CLIPS` clips
            or two have no clips of different units. Without the products of a unit with itself it is an estimate that
            may fall below 0 where two cells are alike.
        """
        means = self.sums / np.maximum(self.counts, 1)[:, None]
        pairs = np.outer(self.counts, self.counts) - self.own_pairs
        full = self.counts >= FEWEST_CLIPS
        usable = (pairs > 0.5) & full[:, None] & full
        squares = (means**2).sum(axis=1)
        products = (self.sums @ self.sums.T - self.own_products) / np.where(usable, pairs, 1)
        return np.where(usable, (squares[:, None] + squares - 2 * products) / means.shape[1], np.nan)


def cell_sums(features: np.ndarray, design: Design) -> CellSums:
    """What the distances between cells are made of; `features` as for `cell_means`."""
    languages, _, size = features.shape
    shape = (languages, design.num_corpora, design.num_emotions)
    cells = int(np.prod(shape))
    places = np.arange(cells).reshape(shape)
    made = CellSums(np.zeros((cells, size)), np.zeros(cells), np.zeros((cells, cells)), np.zeros((cells, cells)))
    for corpus in np.unique(design.corpus):
        here = places[:, corpus].ravel()
        all_units = np.unique(design.unit[design.corpus == corpus])
        for units in np.array_split(all_units, len(all_units) // _UNITS_AT_ONCE + 1):
            chosen = (design.corpus == corpus) & np.isin(design.unit, units)
            group = np.searchsorted(units, design.unit[chosen]) * design.num_emotions + design.emotion[chosen]
            sums, counts = _grouped(features[:, chosen], group, len(units) * design.num_emotions)
            # `(num_units, num_languages * num_emotions, size)`: what each unit has in each cell.
            sums = sums.reshape(languages, len(units), -1, size).transpose(1, 0, 2, 3).reshape(len(units), -1, size)
            counts = counts.reshape(languages, len(units), -1).transpose(1, 0, 2).reshape(len(units), -1)
            made.sums[here] += sums.sum(axis=0)
            made.counts[here] += counts.sum(axis=0)
            made.own_products[np.ix_(here, here)] += (sums @ sums.transpose(0, 2, 1)).sum(axis=0)
            made.own_pairs[np.ix_(here, here)] += counts.T @ counts
    return made


def _grouped(features: np.ndarray, group: np.ndarray, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums `(num_languages, num_groups, size)` and counts of the whole clips of each group."""
    languages, sources, size = features.shape
    whole = np.isfinite(features).all(axis=2)
    flat = np.where(whole[..., None], features, 0).transpose(1, 0, 2).reshape(sources, -1)
    member = csr_array((np.ones(sources), (group, np.arange(sources))), shape=(num_groups, sources))
    sums = (member @ flat).reshape(num_groups, languages, size).transpose(1, 0, 2)
    return sums, (member @ whole.T.astype(float)).T


class _Pairs:
    """The pairs of cells of different languages, and what is the mean over which of them."""

    def __init__(self, design: Design, languages: Sequence[str], emotions: Sequence[str]) -> None:
        shape = (len(languages), design.num_corpora, design.num_emotions)
        language, _, emotion = (axis.ravel() for axis in np.indices(shape))
        first, second = np.triu_indices(len(language), 1)
        apart = language[first] != language[second]
        self.first, self.second = first[apart], second[apart]
        same = emotion[self.first] == emotion[self.second]
        self.names: list[tuple[str, str]] = [("all", "")]
        among = [np.ones(len(same), dtype=bool)]
        for kind, words, of in (("languages", languages, language), ("emotions", emotions, emotion)):
            for index, word in enumerate(words):
                self.names.append((kind, word))
                among.append((of[self.first] == index) | (of[self.second] == index))
        self.same = np.array([mask & same for mask in among], dtype=float)
        self.different = np.array([mask & ~same for mask in among], dtype=float)

    def between(self, sums: CellSums) -> np.ndarray:
        """Squared distances of the pairs."""
        return sums.distances()[self.first, self.second]

    def averages(self, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean squared distance of the same-emotion pairs and of the others, one each for `names`."""
        known = np.isfinite(squared)
        filled = np.where(known, squared, 0)
        with np.errstate(invalid="ignore"):
            means = [(chosen @ filled) / (chosen @ known) for chosen in (self.same, self.different)]
        return means[0], means[1]


def compare_cells(
    features: np.ndarray,
    design: Design,
    languages: Sequence[str],
    emotions: Sequence[str],
    *,
    permutations: int = 999,
    seed: int = 0,
    progress: bool = False,
    name: str = "",
) -> dict[str, Any] | None:
    """Distances between cells of different languages, same emotion against different emotions, and the test.

    Args:
        features: `(num_languages, num_sources, size)`; a clip with any NaN is left out.
        design: of the sources.
        languages, emotions: their names.
        permutations: shufflings of the emotions.
        seed: of the shufflings.
        progress, name: a bar, and what it is called.

    Returns:
        `same` and `different`: root mean square distances; `ratio` of the first to the second, below 1 where emotion
        is kept, with `interval` (95 %, over speakers; None where too few are left without some of them);
        `shuffled`, its `mean` and 95 % `interval` under shuffled emotions; `nearer`, the share of times that a
        same-emotion pair is nearer than a different-emotion pair, both drawn blindly; `p`, the larger of `p_clips` and
        `p_speakers`; `pairs_same`, `pairs_different`. The same for each of `languages` and `emotions` over the pairs
        that it is part of. None where there are no pairs of both kinds, or none under shuffled emotions.
    """
    pairs = _Pairs(design, languages, emotions)
    sums = cell_sums(features, design)
    between = pairs.between(sums)
    same, different = pairs.averages(between)
    if not np.isfinite([same[0], different[0]]).all():
        return None
    rng = np.random.default_rng(seed)
    shuffled = np.empty((permutations, 2, len(pairs.names)))
    for turn in tqdm(range(permutations), name, unit="shuffle", disable=not progress, dynamic_ncols=True):
        shuffled[turn] = pairs.averages(pairs.between(cell_sums(features, design.shuffled(rng))))
    # An arrangement may leave no pair to measure; where each did, there is nothing to compare with.
    measured = np.array(np.isfinite(shuffled).all(axis=1).any(axis=0))
    if not measured[0]:
        return None
    errors, groups = _jackknife(features, design, pairs, sums)
    found: dict[str, Any] = {"permutations": permutations, "speaker_groups": groups, "languages": {}, "emotions": {}}
    for index, (kind, word) in enumerate(pairs.names):
        if not (measured[index] and np.isfinite([same[index], different[index]]).all()):
            continue
        figures = _figures(same[index], different[index], shuffled[:, :, index], errors[index], groups)
        own = [between[(of[index] > 0) & np.isfinite(between)] for of in (pairs.same, pairs.different)]
        figures |= {"nearer": _share_nearer(*own), "pairs_same": len(own[0]), "pairs_different": len(own[1])}
        if kind == "all":
            found |= figures
        else:
            found[kind][word] = figures
    return found


def _ratio(same: np.ndarray, different: np.ndarray) -> np.ndarray:
    """Of root mean squares. An estimate at or below 0 stands for the least that is told from 0."""
    least = 1e-6 * (np.abs(same) + np.abs(different)) + 1e-12
    return np.sqrt(np.maximum(same, least) / np.maximum(different, least))


def _figures(same: float, different: float, shuffled: np.ndarray, error: float, groups: int) -> dict[str, Any]:
    # Rounding may part what is equal, where a speaker has too few clips for another arrangement; and an arrangement
    # that leaves no pair to measure (NaN) speaks against the effect.
    reached = int((~(shuffled[:, 1] - shuffled[:, 0] < different - same - 1e-9 * different)).sum())
    p_clips = (1 + reached) / (1 + len(shuffled))
    ratios = _ratio(shuffled[:, 0], shuffled[:, 1])
    ratio = float(_ratio(np.array(same), np.array(different)))
    figures: dict[str, Any] = {
        "same": float(np.sqrt(max(same, 0))),
        "different": float(np.sqrt(max(different, 0))),
        "ratio": ratio,
        "interval": None,
        "shuffled": {
            "mean": float(np.nanmean(ratios)),
            "interval": [float(bound) for bound in np.nanpercentile(ratios, [2.5, 97.5])],
        },
        "p": 1.0,
        "p_clips": p_clips,
        "p_speakers": None,
    }
    if np.isfinite(error) and error > 0:
        reach = student.ppf(0.975, groups - 1) * error
        figures["interval"] = [float(bound) for bound in ratio * np.exp([-reach, reach])]
        figures["p_speakers"] = float(student.cdf(np.log(ratio) / error, groups - 1))
        figures["p"] = max(p_clips, figures["p_speakers"])
    return figures


def _share_nearer(same: np.ndarray, different: np.ndarray) -> float:
    """Probability that the same-emotion pair is the nearer of two, ties by halves (Mann and Whitney's U)."""
    ordered = np.sort(different)
    further = len(ordered) - np.searchsorted(ordered, same, side="right")
    level = np.searchsorted(ordered, same, side="right") - np.searchsorted(ordered, same, side="left")
    return float((further + level / 2).mean() / len(ordered))


def _jackknife(features: np.ndarray, design: Design, pairs: _Pairs, sums: CellSums) -> tuple[np.ndarray, int]:
    """Standard errors of the logarithms of the ratios, from leaving out groups of units in turn; how many groups.

    Units and not clips, because the clips of a speaker are not independent. NaN where a rest has no pairs.
    """
    groups = min(_MOST_GROUPS, int(design.unit.max()) + 1)
    logs = []
    for left_out in range(groups):
        chosen = design.unit % groups == left_out
        rest = sums.less(cell_sums(features[:, chosen], design.take(chosen)))
        with np.errstate(invalid="ignore"):
            logs.append(np.log(_ratio(*pairs.averages(pairs.between(rest)))))
    return np.sqrt((groups - 1) / groups * ((np.array(logs) - np.mean(logs, axis=0)) ** 2).sum(axis=0)), groups
