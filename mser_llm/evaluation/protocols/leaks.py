# SPDX-License-Identifier: Apache-2.0
"""Whether training has heard what a test measures: the same people, or the same recordings, translated or not.

M5SER is translated from IEMOCAP, MELD and others, which are test sets too (arXiv 2503.21806, Secs. III-B and V-A; the
paper does not say whether it left out the translations of its test clips). A translation therefore counts as its
source, by `source_corpus` and the source's id, and its speaker is the source's.

Names alone would pass a corpus that was trained on as a user's own folder and is tested as itself, so the files are
compared too, by what they hold: with a training record always, between rows where it is asked for. A copy in another
format is another file.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from mser_llm.data.corpora import FOLDER
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
_NAMED = 5


@dataclass(frozen=True)
class LeakReport:
    """What is on both sides of a test.

    Attributes:
        speakers: heard in training and tested.
        recordings: tested, and heard in training as they are, in translation, or under another name.
        corpora: of which training heard something, where the test is meant for models that never did (zero-shot).
        languages: likewise.
        clips: tested clips that one of these concerns.
        tested: all tested clips.
        unchecked: what could not be compared, one sentence each.
        unlabelled: tested corpora of which training heard something without its emotions, which is no leak.
        unlabelled_clips: tested clips by people, or of recordings, that it heard so.
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
        """What the figures are marked with where speech of the tested corpora was heard without its emotions."""
        if not self.unlabelled:
            return ""
        return (
            f"unlabelled target seen: training heard speech of {', '.join(self.unlabelled)} without its emotions, "
            f"with the people of {self.unlabelled_clips} of {self.tested} tested clips; this test is not zero-shot in "
            "the strict sense"
        )

    @property
    def found(self) -> bool:
        """Whether anything is on both sides."""
        return bool(self.speakers or self.recordings or self.corpora or self.languages)

    def __str__(self) -> str:
        """One line: what is on both sides, and how many of the tested clips that concerns."""
        if not self.found:
            return "nothing that is tested was heard in training"
        said = []
        if self.corpora:
            said.append(f"training heard the corpus {', '.join(self.corpora)}, and this test is zero-shot")
        if self.languages:
            said.append(f"training heard the language {', '.join(self.languages)}, which this test leaves out")
        if self.speakers:
            said.append(f"{len(self.speakers)} speaker(s) are in training and in test: {_some(self.speakers)}")
        if self.recordings:
            said.append(
                f"{len(self.recordings)} tested recording(s), or translations of them, are in training: "
                f"{_some(self.recordings)}"
            )
        return f"{'; '.join(said)}; {self.clips} of {self.tested} tested clips are concerned"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with `found` and `mark`."""
        return {
            "found": self.found,
            "mark": self.mark,
            **{name: _listed(value) for name, value in asdict(self).items()},
        }


def check_leak(
    training: TrainingRecord | Iterable[Row],
    test: Sequence[Row],
    *,
    allow: bool = False,
    by_content: bool = False,
    zero_shot_corpora: Iterable[str] = (),
    zero_shot_languages: Iterable[str] = (),
) -> LeakReport:
    """Refuse a test of what was heard in training with its emotions.

    What was heard without them, as BYOL hears a target corpus, is marked and not refused (Gong et al. 2025, "Learning
    More with Less", Sec. 4.3, trains on the target corpus so).

    Args:
        training: rows, or what `read_training_record` gives, whose files are compared by content too.
        test: rows.
        allow: give the report of a leak back instead of refusing; whoever measures then marks the figures with it.
        by_content: compare the files of training rows by content too, for speech that may be given under two names.
            The folds of one corpus know their recordings by name, so there no file need be read.
        zero_shot_corpora, zero_shot_languages: those that a zero-shot test takes for never heard.

    Returns:
        What is on both sides, which without `allow` is nothing, and what could not be checked.

    Raises:
        SpeakerLeakError: something is on both sides.
    """
    if isinstance(training, TrainingRecord):
        record, files = training, _files(training, test)
    else:
        rows = list(training)
        known, files = _files_of_equal_size(rows, test) if by_content else (frozenset(), [None] * len(test))
        record = replace(record_from_rows(rows), files=known)
    heard = record.recordings or frozenset()
    by_speaker = [row["speaker"] in record.speakers for row in test]
    by_recording = [
        file in record.files or not heard.isdisjoint(recording_names(row))
        for row, file in zip(test, files, strict=True)
    ]
    corpora = sorted(record.corpora & set(zero_shot_corpora))
    languages = sorted(record.languages & set(zero_shot_languages))
    concerned = [
        any(ways) or row["corpus"] in corpora or row["language"] in languages
        for row, *ways in zip(test, by_speaker, by_recording, strict=True)
    ]
    unlabelled = [
        file in record.unlabelled.files or _heard_unlabelled(record, row)
        for row, file in zip(test, files, strict=True)
    ]
    of_corpora = record.unlabelled.corpora - {FOLDER}  # one name for any number of users' own folders
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
            f"{report}; test on other speech, train without it, or allow the leak (--allow_leak) and have it marked"
        )
    return report


def check_model_leak(
    model: str | PathLike, test: Sequence[Row], protocol: "Protocol | None" = None, *, allow: bool = False
) -> LeakReport:
    """Whether a model was trained on what it is to be tested on, by the record beside it.

    Args:
        model: folder, or an id on the Hub, where no record lies: the report then says that nothing was checked.
        test: rows.
        protocol: whose further conditions hold, such as a corpus or a language never heard.
        allow: as in `check_leak`.

    Raises:
        SpeakerLeakError: it was.
        TrainingRecordError: the record is damaged.
    """
    record = read_training_record(model)
    if record is None:
        said = f"{model} has no {TRAIN_RESULTS}, so leaks between its training and this test cannot be checked"
        return LeakReport(tested=len(test), unchecked=(said,))
    if protocol is None:
        return check_leak(record, test, allow=allow)
    return protocol.check(record, test, allow=allow)


def remove_leaks(training: Sequence[Row], *held_out: Iterable[Row], speakers: bool = True) -> list[Row]:
    """Training rows less every row and translation of the recordings held out, and less their speakers.

    Args:
        training: rows.
        held_out: test and validation rows.
        speakers: whether all else that these people say is left out too. A split that has the same people on both
            sides by its design can leave out no more than recordings.
    """
    held = [row for rows in held_out for row in rows]
    recordings = {name for row in held for name in recording_names(row)}
    people = {row["speaker"] for row in held} - {None} if speakers else set()
    return [row for row in training if recording(row) not in recordings and row["speaker"] not in people]


def _files(record: TrainingRecord, test: Sequence[Row]) -> list[str | None]:
    """The tested files' names by content, where the record has some to compare; None for what cannot be read."""
    if not (record.files or record.unlabelled.files):
        return [None] * len(test)
    return _named(test)


def _files_of_equal_size(training: Sequence[Row], test: Sequence[Row]) -> tuple[frozenset[str], list[str | None]]:
    """Names by content of the training files and of each tested file, of those alone whose size is on both sides.

    M5SER's are left out, as in a training record: its recordings are known by their sources. So are empty files, which
    are all equal and no clips.
    """
    sizes = [
        [None if row.get("source_corpus") is not None else clip_bytes(row["audio"]) for row in rows]
        for rows in (training, test)
    ]
    equal = set(sizes[0]) & set(sizes[1]) - {None, 0}
    heard, tested = (
        _named([row if size in equal else None for row, size in zip(rows, own, strict=True)])
        for rows, own in zip((training, test), sizes)
    )
    return frozenset(name for name in heard if name is not None), tested


def _named(rows: Sequence[Row | None]) -> list[str | None]:
    """The name by content of each row's file; None for no row, and for a file that cannot be read."""
    with ThreadPoolExecutor() as pool:
        contents = pool.map(lambda row: None if row is None else clip_sha256(row["audio"]), rows)
        return [None if content is None else short_digest(content) for content in contents]


def _heard_unlabelled(record: TrainingRecord, row: Row) -> bool:
    heard = record.unlabelled
    return row["speaker"] in heard.speakers or not heard.recordings.isdisjoint(recording_names(row))


def _unchecked(record: TrainingRecord, test: Sequence[Row]) -> tuple[str, ...]:
    said = []
    unnamed = sum(row["speaker"] is None for row in test)
    if unnamed:
        said.append(
            f"{unnamed} of {len(test)} tested clips have no speaker, so whether training heard these people cannot be "
            "checked"
        )
    if record.without_speaker:
        said.append(
            f"{record.without_speaker} training clips have no speaker, so whether their people are tested cannot be "
            "checked"
        )
    if record.recordings is None:
        said.append(
            "the training record is an older one and names no recording without a speaker, and nobody of the "
            "validation or of an earlier stage; train again to have these compared"
        )
    return tuple(said)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
