# SPDX-License-Identifier: Apache-2.0
"""The one engine for every corpus that `mser_llm.data.corpora` declares: file names, folders and tables to rows."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mser_llm.data.corpora import ClipTable, CorpusSpec
from mser_llm.data.listing import Listing, format_rank, list_files, without_extension
from mser_llm.data.loaded_corpus import UNLABELLED, CorpusError, LoadedCorpus, extraction, passed_over, some
from mser_llm.data.parquet_audio import parquet_clips
from mser_llm.data.schema import new_row
from processing_mser.emotions_mser import UnknownEmotionError, canonical_emotion


OTHER_FORMAT = "another format of a clip that was read"


def read_known_corpus(spec: CorpusSpec, path: Path) -> LoadedCorpus:
    """Read a corpus by its declaration.

    Args:
        spec: the declaration.
        path: its folder, or any folder above.

    Returns:
        rows in the order of their paths, and what was found beside what was expected.

    Raises:
        CorpusError: no audio, no table of emotions, nothing that matches, or one clip twice.
    """
    listing = list_files(path)
    embedded = [] if listing.audio or spec.parquet is None else parquet_clips(spec.parquet, path, listing.others)
    if not (listing.audio or listing.media or embedded):
        raise CorpusError(f"{path}: holds no audio file; get {spec.name} from {spec.how_to_get}, and give its folder")
    clips = _Clips(spec, _read_tables(spec, path, listing.others))
    folder = "" if str(path) == "." else os.path.join(path, "")
    for file in listing.audio:
        clips.add(without_extension(file), format_rank(file), {"bytes": None, "path": folder + file})
    for name, audio in embedded:
        clips.add(name, 0, audio)
    unopened = [file for file in listing.media if clips.lacks(without_extension(file))]
    if not clips.rows:
        raise CorpusError(_nothing(spec, path, listing, clips, unopened))
    return _reading(spec, path, listing, clips, unopened)


class TableRecords:
    """One table of a corpus, read.

    Args:
        table: its declaration.
        records: key to the columns that the corpus uses.
        files: of the table, relative to the corpus's folder.
    """

    def __init__(self, table: ClipTable, records: dict[str, dict[str, str]], files: Sequence[str]):
        self.table, self.files = table, files
        self._records = records
        self._asked: set[str] = set()

    def find(self, fields: Mapping[str, str]) -> dict[str, str] | None:
        """The record of the file with these fields."""
        key = self.table.of(fields)
        record = self._records.get(key) if key is not None else None
        if record is not None and key is not None and self.table.lists_clips:
            self._asked.add(key)
        return record

    def unasked(self) -> list[tuple[str, dict[str, str]]]:
        """Clips that the table lists and for which no file came."""
        if not self.table.lists_clips or len(self._asked) == len(self._records):
            return []
        return [(key, record) for key, record in self._records.items() if key not in self._asked]


def _read_tables(spec: CorpusSpec, path: Path, others: Sequence[str]) -> list[TableRecords]:
    """Read every table of a corpus that is there.

    Args:
        spec: the corpus.
        path: its folder.
        others: the files there that are not audio, relative to it.

    Raises:
        CorpusError: a required table is not there, or there and damaged.
    """
    return [_read_table(spec, table, path, others) for table in spec.tables]


def _read_table(spec: CorpusSpec, table: ClipTable, path: Path, others: Sequence[str]) -> TableRecords:
    records: dict[str, dict[str, str]] = {}
    columns = spec.columns
    found = list(table.find(others))
    for file, shared in found:
        try:
            for values in table.records(path / file):
                fields = {**values, **shared}
                key = table.key(fields)
                if key is not None:
                    records.setdefault(
                        without_extension(key), {name: fields[name] for name in columns if name in fields}
                    )
        except (OSError, ValueError) as error:
            raise CorpusError(str(error) if str(path / file) in str(error) else f"{path / file}: {error}") from error
    if table.required and not records:
        problem = "hold no record of the expected form" if found else "are not there"
        raise CorpusError(
            f"{path}: the {table.holds} of {spec.name} stand in {table.named()}, which {problem}; put them back, or "
            "give the folder that holds them and the recordings"
        )
    return TableRecords(table, records, [file for file, _ in found])


@dataclass
class _Clips:
    """The clips of a corpus as they come together, and what was put aside."""

    spec: CorpusSpec
    tables: Sequence[TableRecords]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    """Not named as the corpus names its clips, or with a label that it does not have."""
    unlabelled: list[str] = field(default_factory=list)
    """Named so, but without a record in the table that makes it a clip."""
    skipped: Counter[str] = field(default_factory=Counter)
    other_formats: int = 0

    def __post_init__(self) -> None:
        self._pattern = self.spec.matcher()
        self._required = [table for table in self.tables if table.table.required]
        self._ranks: dict[str, int] = {}
        self._emotions: dict[str, str | None] = {}

    def add(self, name: str, rank: int, audio: Mapping[str, Any]) -> None:
        """Take a file, whose path without extension is `name`, or put it aside; of two formats the lower rank."""
        fields = self._fields(name)
        if isinstance(fields, str):
            self.skipped[fields] += 1
            return
        aside = self.unmatched if fields is None else self._aside(fields)
        if fields is None or aside is not None:
            (self.unmatched if aside is None else aside).append(audio["path"])
            return
        key = fields["id"]
        before = self._ranks.get(key)
        if before is not None:
            if before == rank:
                raise CorpusError(
                    f"{audio['path']}: has the id {key!r} of {self.rows[key]['audio']['path']}; keep one copy, or "
                    f"give {self.spec.name}=PATH one only"
                )
            self.other_formats += 1
            if before < rank:
                return
        self._ranks[key] = rank
        self.rows[key] = self._row(fields, audio)

    def lacks(self, name: str) -> bool:
        """Whether the file would be a clip if it could be opened, and is none in another format."""
        fields = self._fields(name)
        return isinstance(fields, dict) and fields["id"] not in self.rows and self._aside(fields) is None

    def missing(self) -> list[Path]:
        """What tables list and no file came for, by the names that they use."""
        unasked = (clip for table in self.tables for clip in table.unasked())
        return [Path(key) for key, record in unasked if self._left_out({**record, "id": key}) is None]

    def _fields(self, name: str) -> dict[str, str] | str | None:
        """The fields of a file; the reason where it is left out on purpose; None where its name says nothing."""
        spec = self.spec
        folders = name.lower().split("/")[:-1] if spec.folders or spec.skip_folders else []
        for folder in folders:
            if folder in spec.skip_folders:
                return spec.skip_folders[folder]
        match = self._pattern.fullmatch(name)
        if match is None:
            return None
        fields = match.groupdict(default="")
        fields["stem"] = name.rpartition("/")[2]
        for column, values in spec.folders.items():
            fields[column] = next((values[folder] for folder in reversed(folders) if folder in values), "")
        fields["id"] = (spec.id(fields) if spec.id else None) or fields["clip"]
        for table in self.tables:
            record = table.find(fields)
            if record is not None:
                fields = {**record, **fields}
        return self._left_out(fields) or fields

    def _left_out(self, fields: Mapping[str, str]) -> str | None:
        for column, reasons in self.spec.skip.items():
            reason = reasons.get(fields.get(column, ""))
            if reason is not None:
                return reason
        return None

    def _aside(self, fields: Mapping[str, str]) -> list[str] | None:
        """The list to which a file of these fields goes instead of becoming a row."""
        if any(table.find(fields) is None for table in self._required):
            return self.unlabelled
        if not self.spec.labelled:
            return None
        label = self.spec.emotion(fields)
        if label is None:
            return self.unlabelled if self._required else self.unmatched
        return self.unmatched if self._emotion(label) is None else None

    def _emotion(self, label: str) -> str | None:
        if label not in self._emotions:
            try:
                self._emotions[label] = canonical_emotion(label, self.spec.name)
            except UnknownEmotionError:
                self._emotions[label] = None
        return self._emotions[label]

    def _row(self, fields: Mapping[str, str], audio: Mapping[str, Any]) -> dict[str, Any]:
        spec = self.spec
        speaker = spec.speaker(fields)
        row = new_row(
            id=fields["id"],
            path=audio["path"],
            corpus=spec.name,
            emotion=self._emotion(spec.emotion(fields) or "") if spec.labelled else None,
            language=spec.spoken(fields) if spec.language == "many" else spec.language,
            speaker=f"{spec.name}-{speaker}" if speaker else None,
            gender=spec.gender(fields),
            transcript=spec.transcript(fields),
            split=spec.split(fields),
        )
        return {**row, "audio": audio}


def _reading(spec: CorpusSpec, path: Path, listing: Listing, clips: _Clips, unopened: Sequence[str]) -> LoadedCorpus:
    rows, missing = list(clips.rows.values()), clips.missing()
    release = _release(spec, path, listing)
    warnings = [
        f"{path} holds no {table.table.named()}, which gives {table.table.holds}; put it back to have them"
        for table in clips.tables
        if not table.files
    ]
    if clips.unmatched:
        warnings.append(
            f"{len(clips.unmatched)} audio files are not named like {spec.example} with a known label and were not "
            "read"
        )
    required = ", ".join(table.table.named() for table in clips.tables if table.table.required)
    if clips.unlabelled:
        warnings.append(f"{len(clips.unlabelled)} audio files are not in {required}, or without a label there")
    warnings += passed_over(listing)
    if unopened:
        warnings.append(f"{len(unopened)} clips are there only as {extraction(path, unopened)}")
    if missing:
        listed = ", ".join(table.table.named() for table in clips.tables if table.table.lists_clips)
        warnings.append(f"{len(missing)} clips that {listed} lists are not there")
    warnings += _count_warnings(spec, rows, spec.clips_left_out(clips.skipped))
    warnings += _resolve_genders(rows)
    if spec.release and release is None:
        warnings.append("its release is in no folder's name; note it down, because the clips differ between releases")
    found = Counter(row["emotion"] or UNLABELLED for row in rows)
    return LoadedCorpus(
        name=spec.name,
        path=path,
        rows=rows,
        expected=dict(spec.expected),
        found={
            emotion: found[emotion] for emotion in dict.fromkeys([*spec.expected, *sorted(found)]) if found[emotion]
        },
        unmatched=[Path(file) for file in clips.unmatched + clips.unlabelled]
        + [path / file for file in [*listing.unreadable, *unopened]],
        warnings=warnings,
        skipped=dict(clips.skipped) | ({OTHER_FORMAT: clips.other_formats} if clips.other_formats else {}),
        missing=missing,
        release=release,
    )


def _release(spec: CorpusSpec, path: Path, listing: Listing) -> str | None:
    if spec.release is None:
        return None
    folders = [*path.resolve().parts, *(listing.audio[0].split("/")[:-1] if listing.audio else [])]
    found = [match[1] for match in (re.search(spec.release, folder) for folder in folders) if match]
    return found[-1] if found else None


def _nothing(spec: CorpusSpec, path: Path, listing: Listing, clips: _Clips, unopened: Sequence[str]) -> str:
    if unopened:
        return f"{path}: the clips of {spec.name} are there only as {extraction(path, unopened)}"
    if clips.unlabelled and not clips.unmatched:
        tables = ", ".join(table.table.named() for table in clips.tables if table.table.required)
        return (
            f"{path}: none of its {len(clips.unlabelled)} clips, such as {clips.unlabelled[0]}, is in {tables}; take "
            "recordings and tables of one release, in the folders as published"
        )
    left_out = "".join(f"; left out {count}: {reason}" for reason, count in clips.skipped.items())
    files = listing.audio or listing.media
    return (
        f"{path}: is not {spec.name}: none of its {len(files)} audio files, such as {Path(files[0]).name}, is a clip "
        f"named like {spec.example}{left_out}; check NAME and PATH, or read your own files with folder=PATH"
        if files
        else f"{path}: is not {spec.name}: no recording in its Parquet files is named like {spec.example}"
    )


def _count_warnings(spec: CorpusSpec, rows: Sequence[Mapping[str, Any]], skipped: int) -> list[str]:
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


def _resolve_genders(rows: Sequence[dict[str, Any]]) -> list[str]:
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
