# SPDX-License-Identifier: Apache-2.0
"""Detect leaks: speakers or recordings, translated or not, that are in training and in test.

M5SER is translated from IEMOCAP, MELD and others, which are also test sets (arXiv 2503.21806, Secs. III-B and V-A; the
paper does not say whether translations of test clips were left out). A translation therefore counts as its source, by
`source_corpus` and the source's id, and has the source's speaker.

Names miss a corpus that was trained on as a user's own folder, so files are also compared by content: always with a
training record, on request between rows. A copy in another format is a different file.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from mser_llm.data.corpora import FOLDER
from mser_llm.data.loaded_corpus import join_some
from mser_llm.data.splits import SpeakerLeakError, recording, recording_names
from mser_llm.evaluation.protocols.training_record import (
    TRAIN_RESULTS,
    TrainingRecord,
    read_training_record,
    record_from_rows,
    short_digest,
)
from mser_llm.inference.clip_digests import clip_bytes, clip_sha256


if TYPE_CHECKING:
    from mser_llm.evaluation.protocols.protocol import Protocol


Row = Mapping[str, Any]


@dataclass(frozen=True)
class LeakReport:
    """Overlap of training and test.

    Attributes:
        speakers: in training and in test.
        recordings: in test and in training, unchanged, translated or under another name.
        corpora: in training although the test is zero-shot for them.
        languages: in training although the test leaves them out.
        clips: the number of affected test clips.
        tested: the number of test clips.
        unchecked: what could not be compared, one sentence each.
        unlabelled: test corpora that training used without labels, which is not a leak.
        unlabelled_clips: the number of test clips whose speaker or recording was used without labels.
    """

    speakers: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    clips: int = 0
    tested: int = 0
    unchecked: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    unlabelled_clips: int = 0

    @property
    def mark(self) -> str:
        """The note for results on corpora that training used without labels; empty otherwise."""
        if not self.unlabelled:
            return ""
        return (
            f"unlabeled target seen: training used {', '.join(self.unlabelled)} without labels, with the speakers of "
            f"{self.unlabelled_clips} of {self.tested} test clips; this test is not strictly zero-shot"
        )

    @property
    def found(self) -> bool:
        """Whether training and test overlap."""
        return bool(self.speakers or self.recordings or self.corpora or self.languages)

    def __str__(self) -> str:
        """Describe the overlap and the number of affected test clips in one line."""
        if not self.found:
            return "no overlap of training and test"
        parts = []
        if self.corpora:
            parts.append(f"training used the corpus {', '.join(self.corpora)}, but this test is zero-shot")
        if self.languages:
            parts.append(f"training used the language {', '.join(self.languages)}, which this test leaves out")
        if self.speakers:
            parts.append(f"{len(self.speakers)} speaker(s) are in training and in test: {join_some(self.speakers)}")
        if self.recordings:
            parts.append(
                f"{len(self.recordings)} test recording(s), or translations of them, are in training: "
                f"{join_some(self.recordings)}"
            )
        return f"{'; '.join(parts)}; {self.clips} of {self.tested} test clips are affected"

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, with `found` and `mark`."""
        fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"found": self.found, "mark": self.mark, **fields}


def check_leak(
    training: TrainingRecord | Iterable[Row],
    test: Sequence[Row],
    *,
    allow: bool = False,
    by_content: bool = False,
    zero_shot_corpora: Iterable[str] = (),
    zero_shot_languages: Iterable[str] = (),
) -> LeakReport:
    """Check that no labeled training speech is in the test.

    Speech used without labels, as BYOL uses a target corpus, is reported but allowed (Gong et al. 2025, "Learning More
    with Less", Sec. 4.3, trains on the target corpus this way).

    Args:
        training: rows, or a training record, whose files are also compared by content.
        allow: return the report of a leak instead of raising; the caller then marks the results with it.
        by_content: also compare the files of training rows by content, for speech that may have two names. Folds of
            one corpus have consistent names and do not need this.
        zero_shot_corpora, zero_shot_languages: must not occur in training at all.

    Returns:
        the overlap, which is empty unless `allow` is set, and what could not be checked.

    Raises:
        SpeakerLeakError: training and test overlap.
    """
    if isinstance(training, TrainingRecord):
        record = training
        compared = record.files or record.unlabelled.files
        files = _named(test if compared else [None] * len(test))
    else:
        rows = list(training)
        known, files = _files_of_equal_size(rows, test) if by_content else (frozenset(), [None] * len(test))
        record = replace(record_from_rows(rows), files=known)
    by_speaker = [row["speaker"] in record.speakers for row in test]
    by_recording = [
        file in record.files or not record.recordings.isdisjoint(recording_names(row))
        for row, file in zip(test, files, strict=True)
    ]
    corpora = sorted(record.corpora & set(zero_shot_corpora))
    languages = sorted(record.languages & set(zero_shot_languages))
    concerned = [
        any(ways) or row["corpus"] in corpora or row["language"] in languages
        for row, *ways in zip(test, by_speaker, by_recording)
    ]
    used = record.unlabelled
    unlabelled = [
        file in used.files or row["speaker"] in used.speakers or not used.recordings.isdisjoint(recording_names(row))
        for row, file in zip(test, files)
    ]
    of_corpora = used.corpora - {FOLDER}  # the same name for every folder of a user
    report = LeakReport(
        speakers=tuple(sorted({row["speaker"] for row, held in zip(test, by_speaker) if held})),
        recordings=tuple(sorted({recording(row) for row, held in zip(test, by_recording) if held})),
        corpora=tuple(corpora),
        languages=tuple(languages),
        clips=sum(concerned),
        tested=len(test),
        unchecked=_unchecked(record, test),
        unlabelled=tuple(
            sorted({row["corpus"] for row, held in zip(test, unlabelled) if held or row["corpus"] in of_corpora})
        ),
        unlabelled_clips=sum(unlabelled),
    )
    if report.found and not allow:
        raise SpeakerLeakError(
            f"{report}; test on other speech, train without it, or pass --allow_leak to mark the results"
        )
    return report


def check_model_leak(
    model: str | PathLike, test: Sequence[Row], protocol: "Protocol | None" = None, *, allow: bool = False
) -> LeakReport:
    """Check by its training record that a model was not trained on the test.

    Args:
        model: folder, or an id on the Hub, which has no record: the report then says that nothing was checked.
        protocol: adds its conditions, such as corpora or languages that must not occur in training.
        allow: as in `check_leak`.

    Raises:
        SpeakerLeakError: training and test overlap.
        TrainingRecordError: the record is damaged.
    """
    record = read_training_record(model)
    if record is None:
        problem = f"{model} has no {TRAIN_RESULTS}, so leaks between its training and this test cannot be checked"
        return LeakReport(tested=len(test), unchecked=(problem,))
    if protocol is None:
        return check_leak(record, test, allow=allow)
    return protocol.check(record, test, allow=allow)


def remove_leaks(training: Sequence[Row], *held_out: Iterable[Row], speakers: bool = True) -> list[Row]:
    """Remove held-out recordings, their translations and their speakers from training rows.

    Args:
        speakers: also remove other recordings of held-out speakers; False for official splits that share speakers.
    """
    held = [row for rows in held_out for row in rows]
    recordings = {name for row in held for name in recording_names(row)}
    people = {row["speaker"] for row in held} - {None} if speakers else set()
    return [row for row in training if recording(row) not in recordings and row["speaker"] not in people]


def _files_of_equal_size(training: Sequence[Row], test: Sequence[Row]) -> tuple[frozenset[str], list[str | None]]:
    """Return digests of the training files and of each test file, reading only files of sizes that both sides have.

    M5SER's files are left out because its recordings are identified by their sources, and empty files because they are
    all equal.
    """
    sizes = [
        [None if row.get("source_corpus") is not None else clip_bytes(row["audio"]) for row in rows]
        for rows in (training, test)
    ]
    equal = set(sizes[0]) & set(sizes[1]) - {None, 0}
    trained, tested = (
        _named([row if size in equal else None for row, size in zip(rows, own, strict=True)])
        for rows, own in zip((training, test), sizes)
    )
    return frozenset(name for name in trained if name is not None), tested


def _named(rows: Sequence[Row | None]) -> list[str | None]:
    """Return the digest of each row's file; None for no row and for an unreadable file."""
    with ThreadPoolExecutor() as pool:
        contents = pool.map(lambda row: None if row is None else clip_sha256(row["audio"]), rows)
        return [None if content is None else short_digest(content) for content in contents]


def _unchecked(record: TrainingRecord, test: Sequence[Row]) -> tuple[str, ...]:
    unnamed = sum(row["speaker"] is None for row in test)
    sides = (
        (unnamed, f"{unnamed} of {len(test)} test", "training"),
        (record.without_speaker, f"{record.without_speaker} training", "test"),
    )
    return tuple(
        f"{clips} clips have no speaker, so they cannot be compared with {others} speakers"
        for count, clips, others in sides
        if count
    )
