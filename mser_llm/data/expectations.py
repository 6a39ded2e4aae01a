# SPDX-License-Identifier: Apache-2.0
"""What a reading differs in from what a corpus's publishers state."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mser_llm.data.corpora import CorpusSpec
from mser_llm.data.corpus_reading import some


def count_warnings(spec: CorpusSpec, rows: Sequence[Mapping[str, Any]], skipped: int) -> list[str]:
    """One warning where the number of clips differs, or, where it does not, that of splits or speakers.

    Args:
        spec: the corpus.
        rows: of it.
        skipped: clips left out on purpose.
    """
    found = Counter(row["emotion"] for row in rows)
    differ = [emotion for emotion, count in spec.expected.items() if found[emotion] != count]
    if differ:
        counts = ", ".join(f"{emotion} {found[emotion]} of {spec.expected[emotion]}" for emotion in differ)
        warning = f"{len(rows)} clips found, {spec.clips} expected ({counts})"
        absent = [emotion for emotion in differ if not found[emotion]]
        return [warning + (f"; no clip at all of {', '.join(absent)}" if absent else "")]
    if spec.expected_total is not None and len(rows) + skipped != spec.expected_total:
        left_out = f" and {skipped} left out" if skipped else ""
        return [f"{len(rows)} clips found{left_out}, {spec.expected_total} expected"]
    splits = Counter(row["split"] for row in rows)
    wrong = [f"{split} {splits[split]} of {count}" for split, count in spec.expected_splits.items()]
    if any(splits[split] != count for split, count in spec.expected_splits.items()):
        return [f"every clip is there, but not in its split: {', '.join(wrong)}"]
    speakers = len({row["speaker"] for row in rows} - {None})
    if spec.speakers is not None and spec.clips is not None and speakers != spec.speakers:
        return [f"every clip is there, but of {speakers} speakers, {spec.speakers} expected"]
    return []


def settle_genders(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Make the gender of a speaker who is given both null, in place, and say so."""
    genders = defaultdict(set)
    for row in rows:
        if row["speaker"] is not None and row["gender"] is not None:
            genders[row["speaker"]].add(row["gender"])
    both = {speaker for speaker, given in genders.items() if len(given) > 1}
    if not both:
        return []
    for row in rows:
        if row["speaker"] in both:
            row["gender"] = None
    return [f"{len(both)} speakers are given both genders, read as null: {some(sorted(both))}"]
