# SPDX-License-Identifier: Apache-2.0
"""Test whether an emotion sounds alike in all languages, by distances between cells and permuted emotion labels.

A cell is one emotion in one language and one source corpus, represented by the mean of its clips. The statistic
compares pairs of cells of different languages: those of equal emotion should be closer than those of different ones.

The translations of a clip share its speaker, room and noise. Cells of the same emotion contain translations of equal
clips, so they would be close even if emotion had no effect. Therefore only clips of different speakers are compared:
in the squared distance of two means, |a|^2 + |b|^2 - 2 a.b, the term a.b leaves out products of a speaker with itself.
With squared distances, emotions that are strong in every language but expressed differently give a ratio of 1.

`p` is the larger p value of two tests:

- `p_clips`: permute the emotions of the SOURCE clips within each speaker; every translation takes the emotion of its
  source. This is exact under the hypothesis that emotion has no effect on the sound, whatever translations share.
  Permuting cells would not be, because the cells of several languages share noise. But an effect in one language only
  widens the observed statistic and not the permuted ones.
- `p_speakers`: Student's t test of the log ratio, with the standard error from a jackknife over groups of speakers.
  This holds for emotions that each language expresses differently, and needs several speakers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import mannwhitneyu
from scipy.stats import t as student_t
from tqdm.auto import tqdm


# Cells with fewer clips are ignored.
MIN_CLIPS = 3
_MAX_GROUPS = 20
_UNITS_PER_CHUNK = 64


@dataclass(frozen=True)
class Design:
    """Factors of the source clips.

    Attributes:
        emotion, corpus: int arrays `(num_sources,)`, from 0.
        speaker: likewise; the clips of one speaker of a corpus are centered together.
        unit: likewise; clips of the same unit are not compared with each other.
        num_emotions, num_corpora: numbers of levels.
    """

    emotion: np.ndarray
    corpus: np.ndarray
    speaker: np.ndarray
    unit: np.ndarray
    num_emotions: int
    num_corpora: int

    def permuted(self, rng: np.random.Generator) -> "Design":
        """Return the design with the emotions permuted within each speaker of a corpus."""
        return replace(self, emotion=self.emotion[shuffle_within(number_groups(self.corpus, self.speaker), rng)])

    def take(self, chosen: np.ndarray) -> "Design":
        """Return the design of a subset of the sources."""
        kept = (self.emotion[chosen], self.corpus[chosen], self.speaker[chosen], self.unit[chosen])
        return Design(*kept, self.num_emotions, self.num_corpora)


def number_groups(*factors: np.ndarray) -> np.ndarray:
    """Number the combinations of int factors `(n,)` from 0, in lexicographic order."""
    return np.unique(np.stack(factors), axis=1, return_inverse=True)[1]


def shuffle_within(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random permutation `(n,)` within groups."""
    order = np.empty(len(group), dtype=int)
    order[np.argsort(group, kind="stable")] = np.lexsort((rng.random(len(group)), group))
    return order


def independent_units(corpus: np.ndarray, speaker: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the independent units `(num_sources,)`: known speakers if a corpus has several, clips otherwise."""
    own = np.arange(len(corpus)) + speaker.max() + 1
    unit = np.where(known, speaker, own)
    for number in np.unique(corpus):
        (within,) = np.nonzero(corpus == number)
        if len(np.unique(unit[within])) < 2:
            unit[within] = own[within]
    return number_groups(corpus, unit)


def relative_to_speaker(features: np.ndarray, design: Design) -> np.ndarray:
    """Subtract the mean of the same speaker in the same language, which removes the mean of the language too."""
    group = number_groups(design.corpus, design.speaker)
    sums, counts = _grouped(features, group, int(group.max()) + 1)
    return features - (sums / np.maximum(counts, 1)[..., None])[:, group]


def standardize(features: np.ndarray) -> np.ndarray:
    """Divide each feature by its standard deviation over all clips, so that semitones and decibels can be added."""
    deviation = np.nanstd(features, axis=(0, 1))
    return features / np.where(deviation > 0, deviation, 1)


def cell_means(features: np.ndarray, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of every cell `(num_languages, num_corpora, num_emotions, size)` and its number of clips.

    `features` are `(num_languages, num_sources, size)`; clips with a NaN are ignored.
    """
    group = design.corpus * design.num_emotions + design.emotion
    sums, counts = _grouped(features, group, design.num_corpora * design.num_emotions)
    with np.errstate(invalid="ignore"):
        means = sums / counts[..., None]
    shape = (len(features), design.num_corpora, design.num_emotions)
    return means.reshape(*shape, -1), counts.reshape(shape)


@dataclass(frozen=True)
class CellSums:
    """Sums from which distances follow. They are additive over disjoint sets of units.

    Attributes:
        sums, counts: of the clips of each cell, `(num_cells, size)` and `(num_cells,)`, in the order of `cell_means`.
        own_products: for each pair of cells the sum of products of clips of the same unit, `(num_cells, num_cells)`.
        own_pairs: the number of such products.
    """

    sums: np.ndarray
    counts: np.ndarray
    own_products: np.ndarray
    own_pairs: np.ndarray

    def minus(self, other: "CellSums") -> "CellSums":
        """Return the sums without the units of another."""
        return CellSums(*(getattr(self, one.name) - getattr(other, one.name) for one in fields(self)))

    def distances(self) -> np.ndarray:
        """Return the mean squared differences between cells `(num_cells, num_cells)`, over clips of different units.

        NaN for cells with fewer than `MIN_CLIPS` clips and for pairs without clips of different units. The estimate
        may be below 0 for similar cells.
        """
        means = self.sums / np.maximum(self.counts, 1)[:, None]
        pairs = np.outer(self.counts, self.counts) - self.own_pairs
        enough = self.counts >= MIN_CLIPS
        usable = (pairs > 0.5) & enough[:, None] & enough
        squares = (means**2).sum(axis=1)
        products = (self.sums @ self.sums.T - self.own_products) / np.where(usable, pairs, 1)
        return np.where(usable, (squares[:, None] + squares - 2 * products) / means.shape[1], np.nan)


def cell_sums(features: np.ndarray, design: Design) -> CellSums:
    """Compute the sums for the distances between cells; `features` as for `cell_means`."""
    languages, _, size = features.shape
    shape = (languages, design.num_corpora, design.num_emotions)
    cells = int(np.prod(shape))
    index = np.arange(cells).reshape(shape)
    total = CellSums(np.zeros((cells, size)), np.zeros(cells), np.zeros((cells, cells)), np.zeros((cells, cells)))
    for corpus in np.unique(design.corpus):
        here = index[:, corpus].ravel()
        all_units = np.unique(design.unit[design.corpus == corpus])
        for units in np.array_split(all_units, len(all_units) // _UNITS_PER_CHUNK + 1):
            chosen = (design.corpus == corpus) & np.isin(design.unit, units)
            group = np.searchsorted(units, design.unit[chosen]) * design.num_emotions + design.emotion[chosen]
            sums, counts = _grouped(features[:, chosen], group, len(units) * design.num_emotions)
            # `(num_units, num_languages * num_emotions, size)`: the sums of each unit in each cell.
            sums = sums.reshape(languages, len(units), -1, size).transpose(1, 0, 2, 3).reshape(len(units), -1, size)
            counts = counts.reshape(languages, len(units), -1).transpose(1, 0, 2).reshape(len(units), -1)
            total.sums[here] += sums.sum(axis=0)
            total.counts[here] += counts.sum(axis=0)
            total.own_products[np.ix_(here, here)] += (sums @ sums.transpose(0, 2, 1)).sum(axis=0)
            total.own_pairs[np.ix_(here, here)] += counts.T @ counts
    return total


def _grouped(features: np.ndarray, group: np.ndarray, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sums `(num_languages, num_groups, size)` and counts of the clips without NaN in each group."""
    languages, sources, size = features.shape
    valid = np.isfinite(features).all(axis=2)
    flat = np.where(valid[..., None], features, 0).transpose(1, 0, 2).reshape(sources, -1)
    member = csr_array((np.ones(sources), (group, np.arange(sources))), shape=(num_groups, sources))
    sums = (member @ flat).reshape(num_groups, languages, size).transpose(1, 0, 2)
    return sums, (member @ valid.T.astype(float)).T


class _Pairs:
    """The pairs of cells of different languages, and the subsets over which distances are averaged."""

    def __init__(self, design: Design, languages: Sequence[str], emotions: Sequence[str]) -> None:
        shape = (len(languages), design.num_corpora, design.num_emotions)
        language, _, emotion = (axis.ravel() for axis in np.indices(shape))
        first, second = np.triu_indices(len(language), 1)
        apart = language[first] != language[second]
        self.first, self.second = first[apart], second[apart]
        same = emotion[self.first] == emotion[self.second]
        self.names: list[tuple[str, str]] = [("all", "")]
        subsets = [np.ones(len(same), dtype=bool)]
        for kind, words, of in (("languages", languages, language), ("emotions", emotions, emotion)):
            for index, word in enumerate(words):
                self.names.append((kind, word))
                subsets.append((of[self.first] == index) | (of[self.second] == index))
        self.same = np.array([mask & same for mask in subsets], dtype=float)
        self.different = np.array([mask & ~same for mask in subsets], dtype=float)

    def between(self, sums: CellSums) -> np.ndarray:
        """Return the squared distances of the pairs."""
        return sums.distances()[self.first, self.second]

    def averages(self, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean squared distance of same-emotion and of different-emotion pairs, for each of `names`."""
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
    """Compare same-emotion with different-emotion distances between cells of different languages, and test the ratio.

    Args:
        features: `(num_languages, num_sources, size)`; clips with a NaN are ignored.
        progress, name: whether to show a progress bar, and its label.

    Returns:
        `same` and `different`: root mean square distances; `ratio` of the first to the second, below 1 if emotion is
        kept, with `interval` (95 %, over speakers; None with too few speakers); `shuffled`: `mean` and 95 % `interval`
        of the ratio under permuted emotions; `nearer`: the probability that a random same-emotion pair is closer than
        a random different-emotion pair; `p`: the larger of `p_clips` and `p_speakers`; `pairs_same`,
        `pairs_different`. The same for each of `languages` and `emotions`, over the pairs that include it. None
        without pairs of both kinds, or if no permutation has them.
    """
    pairs = _Pairs(design, languages, emotions)
    sums = cell_sums(features, design)
    between = pairs.between(sums)
    same, different = pairs.averages(between)
    if not np.isfinite([same[0], different[0]]).all():
        return None
    rng = np.random.default_rng(seed)
    shuffled = np.empty((permutations, 2, len(pairs.names)))
    for turn in tqdm(range(permutations), name, unit="permutation", disable=not progress, dynamic_ncols=True):
        shuffled[turn] = pairs.averages(pairs.between(cell_sums(features, design.permuted(rng))))
    # A permutation may leave no valid pair; the subsets in which all do cannot be tested.
    measured = np.array(np.isfinite(shuffled).all(axis=1).any(axis=0))
    if not measured[0]:
        return None
    errors, groups = _jackknife(features, design, pairs, sums)
    found: dict[str, Any] = {"permutations": permutations, "speaker_groups": groups, "languages": {}, "emotions": {}}
    for index, (kind, word) in enumerate(pairs.names):
        if not (measured[index] and np.isfinite([same[index], different[index]]).all()):
            continue
        result = _compare(same[index], different[index], shuffled[:, :, index], errors[index], groups)
        near, far = (between[(of[index] > 0) & np.isfinite(between)] for of in (pairs.same, pairs.different))
        # Ties count half.
        nearer = mannwhitneyu(far, near, method="asymptotic").statistic / (len(near) * len(far))
        result |= {"nearer": float(nearer), "pairs_same": len(near), "pairs_different": len(far)}
        if kind == "all":
            found |= result
        else:
            found[kind][word] = result
    return found


def _ratio(same: np.ndarray, different: np.ndarray) -> np.ndarray:
    """Return the ratio of root mean squares; estimates at or below 0 are replaced by a tiny positive number."""
    tiny = 1e-6 * (np.abs(same) + np.abs(different)) + 1e-12
    return np.sqrt(np.maximum(same, tiny) / np.maximum(different, tiny))


def _compare(same: float, different: float, shuffled: np.ndarray, error: float, groups: int) -> dict[str, Any]:
    # With the tolerance, equal permutations count as reached despite rounding. Those without a valid pair (NaN) count
    # against the effect.
    reached = int((~(shuffled[:, 1] - shuffled[:, 0] < different - same - 1e-9 * different)).sum())
    p_clips = (1 + reached) / (1 + len(shuffled))
    ratios = _ratio(shuffled[:, 0], shuffled[:, 1])
    ratio = float(_ratio(np.array(same), np.array(different)))
    result: dict[str, Any] = {
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
        half_width = student_t.ppf(0.975, groups - 1) * error
        result["interval"] = [float(bound) for bound in ratio * np.exp([-half_width, half_width])]
        result["p_speakers"] = float(student_t.cdf(np.log(ratio) / error, groups - 1))
        result["p"] = max(p_clips, result["p_speakers"])
    return result


def _jackknife(features: np.ndarray, design: Design, pairs: _Pairs, sums: CellSums) -> tuple[np.ndarray, int]:
    """Return the jackknife standard errors of the log ratios over groups of units, and the number of groups.

    Units instead of clips, because the clips of a speaker are not independent. NaN if a subset has no pairs.
    """
    groups = min(_MAX_GROUPS, int(design.unit.max()) + 1)
    logs = []
    for left_out in range(groups):
        chosen = design.unit % groups == left_out
        rest = sums.minus(cell_sums(features[:, chosen], design.take(chosen)))
        with np.errstate(invalid="ignore"):
            logs.append(np.log(_ratio(*pairs.averages(pairs.between(rest)))))
    return np.sqrt((groups - 1) / groups * ((np.array(logs) - np.mean(logs, axis=0)) ** 2).sum(axis=0)), groups
