# SPDX-License-Identifier: Apache-2.0
"""Read any corpus of `mser_llm.data.corpora`: file names, folders and tables become rows, as its `CorpusSpec` says."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mser_llm.data.corpora.spec import ClipTable, CorpusSpec
from mser_llm.data.listing import Listing, format_rank, list_files, without_extension
from mser_llm.data.loaded_corpus import (
    UNLABELED,
    CorpusError,
    LoadedCorpus,
    join_some,
    listing_warnings,
    unsupported_formats,
)
from mser_llm.data.parquet_audio import parquet_clips
from mser_llm.data.schema import new_row
from mser_llm.io.errors import InputError


OTHER_FORMAT = "another format of a clip that was read"


def read_known_corpus(spec: CorpusSpec, path: Path) -> LoadedCorpus:
    """Read a corpus by its declaration from its folder or any above; results and errors are as in `read_corpus`."""
    listing = list_files(path)
    embedded = [] if listing.audio or spec.parquet is None else parquet_clips(spec.parquet, path, listing.others)
    if not (listing.audio or listing.media or embedded):
        fix = f"get {spec.name} from {spec.how_to_get}, and pass its folder"
        raise CorpusError(path, "contains no audio file", fix)
    clips = _Clips(spec, [_Table(spec, table, path, listing.others) for table in spec.tables])
    folder = "" if str(path) == "." else os.path.join(path, "")
    for file in listing.audio:
        clips.add(without_extension(file), format_rank(file), {"bytes": None, "path": folder + file})
    for name, audio in embedded:
        clips.add(name, 0, audio)
    unopened = [file for file in listing.media if clips.lacks(without_extension(file))]
    if not clips.rows:
        raise _no_rows_error(spec, path, listing, clips, unopened)
    return _loaded_corpus(spec, path, listing, clips, unopened)


class _Table:
    """
    The records of one table of a corpus: key to the columns that the corpus uses.

    Raises:
        CorpusError: the table is damaged, or required and missing.
    """

    def __init__(self, spec: CorpusSpec, table: ClipTable, path: Path, others: Sequence[str]):
        self.table = table
        self.files = list(table.find(others))
        self._records: dict[str, dict[str, str]] = {}
        self._used: set[str] = set()
        columns = spec.columns
        for file, shared in self.files:
            try:
                for values in table.records(path / file):
                    fields = {**values, **shared}
                    key = table.key(fields)
                    if key is not None:
                        record = {name: fields[name] for name in columns if name in fields}
                        self._records.setdefault(without_extension(key), record)
            except InputError as error:
                raise CorpusError(error.source, error.problem, error.fix) from error
            except (OSError, ValueError) as error:
                raise CorpusError(path / file, f"cannot be read ({error})", "restore it as published") from error
        if table.required and not self._records:
            problem = "contain no valid record" if self.files else "are missing"
            raise CorpusError(
                path,
                f"the {table.contents} of {spec.name} are in {table.file_names()}, which {problem}",
                "restore them, or pass the folder that contains both tables and recordings",
            )

    def find(self, fields: Mapping[str, str]) -> dict[str, str] | None:
        """Return the record of the file with these fields."""
        key = self.table.clip_key(fields)
        record = self._records.get(key) if key is not None else None
        if record is not None and key is not None and self.table.lists_clips:
            self._used.add(key)
        return record

    def unused(self) -> list[tuple[str, dict[str, str]]]:
        """Return the clips that the table lists and that `find` never returned."""
        return [item for item in self._records.items() if self.table.lists_clips and item[0] not in self._used]


@dataclass
class _Clips:
    """The rows of a corpus as files are added, and the files that gave none."""

    spec: CorpusSpec
    tables: Sequence[_Table]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    """Files whose name does not match, or with an unknown label."""
    unlabeled: list[str] = field(default_factory=list)
    """Files whose name matches and that have no record in a required table."""
    skipped: Counter[str] = field(default_factory=Counter)
    other_formats: int = 0

    def __post_init__(self) -> None:
        self._pattern = self.spec.matcher()
        self._required = [table for table in self.tables if table.table.required]
        self._ranks: dict[str, int] = {}

    def add(self, name: str, rank: int, audio: Mapping[str, Any]) -> None:
        """Add a file, whose path without extension is `name`; of two formats of a clip the lower rank is used."""
        fields = self._fields(name)
        if isinstance(fields, str):
            self.skipped[fields] += 1
            return
        rejects = self.unmatched if fields is None else self._rejects(fields)
        if fields is None or rejects is not None:
            (self.unmatched if rejects is None else rejects).append(audio["path"])
            return
        key = fields["id"]
        before = self._ranks.get(key)
        if before is not None:
            if before == rank:
                problem = f"has the id {key!r} of {self.rows[key]['audio']['path']}"
                raise CorpusError(audio["path"], problem, f"keep one copy, or pass only one as {self.spec.name}=PATH")
            self.other_formats += 1
            if before < rank:
                return
        self._ranks[key] = rank
        self.rows[key] = self._row(fields, audio)

    def lacks(self, name: str) -> bool:
        """Whether a file that cannot be opened is a clip that exists in no other format."""
        fields = self._fields(name)
        return isinstance(fields, dict) and fields["id"] not in self.rows and self._rejects(fields) is None

    def missing(self) -> list[Path]:
        """Return the clips that tables list and that have no file, named as in the tables."""
        unused = (clip for table in self.tables for clip in table.unused())
        return [Path(key) for key, record in unused if self._skip_reason({**record, "id": key}) is None]

    def _fields(self, name: str) -> dict[str, str] | str | None:
        """The fields of a file; the reason if it is left out on purpose; None if its name does not match."""
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
        return self._skip_reason(fields) or fields

    def _skip_reason(self, fields: Mapping[str, str]) -> str | None:
        reasons = (values.get(fields.get(column, "")) for column, values in self.spec.skip.items())
        return next((reason for reason in reasons if reason is not None), None)

    def _rejects(self, fields: Mapping[str, str]) -> list[str] | None:
        """The list of rejected files to which a file with these fields belongs; None for a clip."""
        if any(table.find(fields) is None for table in self._required):
            return self.unlabeled
        if not self.spec.labels:
            return None
        label = self.spec.emotion(fields)
        if label is None:
            return self.unlabeled if self._required else self.unmatched
        return self.unmatched if self.spec.canonical_emotion(label) is None else None

    def _row(self, fields: Mapping[str, str], audio: Mapping[str, Any]) -> dict[str, Any]:
        spec = self.spec
        speaker = spec.speaker(fields)
        row = new_row(
            id=fields["id"],
            path=audio["path"],
            corpus=spec.name,
            emotion=spec.canonical_emotion(spec.emotion(fields) or ""),
            language=spec.clip_language(fields) if spec.language == "many" else spec.language,
            speaker=f"{spec.name}-{speaker}" if speaker else None,
            gender=spec.gender(fields),
            transcript=spec.transcript(fields),
            split=spec.split(fields),
        )
        return {**row, "audio": audio}


def _loaded_corpus(
    spec: CorpusSpec, path: Path, listing: Listing, clips: _Clips, unopened: Sequence[str]
) -> LoadedCorpus:
    rows, missing = list(clips.rows.values()), clips.missing()
    release = _release(spec, path, listing)
    warnings = [
        f"{table.table.file_names()} is missing, so {table.table.contents} are unknown; restore it in {path}"
        for table in clips.tables
        if not table.files
    ]
    if clips.unmatched:
        warnings.append(
            f"{len(clips.unmatched)} audio files were not read: their names are not like {spec.example}, or their "
            "label is unknown"
        )
    if clips.unlabeled:
        warnings.append(
            f"{len(clips.unlabeled)} audio files were not read: {_required(clips)} has no record of them, or no label"
        )
    warnings += listing_warnings(listing)
    if unopened:
        problem, fix = unsupported_formats(path, unopened)
        warnings.append(f"{len(unopened)} clips were not read: {problem}; {fix}")
    if missing:
        listed = ", ".join(table.table.file_names() for table in clips.tables if table.table.lists_clips)
        warnings.append(f"{len(missing)} clips listed in {listed} have no file")
    warnings += _count_warnings(spec, rows, spec.published_clips(clips.skipped))
    warnings += _resolve_genders(rows)
    if spec.release and release is None:
        warnings.append("no folder name contains the release; note it down, because releases have different clips")
    found = Counter(row["emotion"] or UNLABELED for row in rows)
    return LoadedCorpus(
        name=spec.name,
        path=path,
        rows=rows,
        expected=dict(spec.expected),
        found={
            emotion: found[emotion] for emotion in dict.fromkeys([*spec.expected, *sorted(found)]) if found[emotion]
        },
        unmatched=[Path(file) for file in clips.unmatched + clips.unlabeled]
        + [path / file for file in [*listing.unreadable, *unopened]],
        warnings=warnings,
        skipped=dict(clips.skipped) | ({OTHER_FORMAT: clips.other_formats} if clips.other_formats else {}),
        missing=missing,
        release=release,
    )


def _required(clips: _Clips) -> str:
    return ", ".join(table.table.file_names() for table in clips.tables if table.table.required)


def _release(spec: CorpusSpec, path: Path, listing: Listing) -> str | None:
    if spec.release is None:
        return None
    folders = [*path.resolve().parts, *(listing.audio[0].split("/")[:-1] if listing.audio else [])]
    found = [match[1] for match in (re.search(spec.release, folder) for folder in folders) if match]
    return found[-1] if found else None


def _no_rows_error(
    spec: CorpusSpec, path: Path, listing: Listing, clips: _Clips, unopened: Sequence[str]
) -> CorpusError:
    if unopened:
        return CorpusError(path, *unsupported_formats(path, unopened))
    if clips.unlabeled and not clips.unmatched:
        return CorpusError(
            path,
            f"{_required(clips)} has none of the {len(clips.unlabeled)} clips, such as {clips.unlabeled[0]}",
            "use recordings and tables of one release, in the folders as published",
        )
    files = listing.audio or listing.media
    left_out = "".join(f", left out {count}: {reason}" for reason, count in clips.skipped.items())
    found = (
        f"none of its {len(files)} audio files, such as {Path(files[0]).name}," if files else "no Parquet recording"
    )
    return CorpusError(
        path,
        f"is not {spec.name}: {found} is a clip named like {spec.example}{left_out}",
        "check NAME and PATH, or read your own files with folder=PATH",
    )


def _count_warnings(spec: CorpusSpec, rows: Sequence[Mapping[str, Any]], skipped: int) -> list[str]:
    """Return one warning if the number of clips differs from the published one; else if splits or speakers differ."""
    found = Counter(row["emotion"] for row in rows)
    differ = [emotion for emotion, count in spec.expected.items() if found[emotion] != count]
    if differ:
        counts = ", ".join(f"{emotion} {found[emotion]} of {spec.expected[emotion]}" for emotion in differ)
        absent = [emotion for emotion in differ if not found[emotion]]
        none = f"; no clip at all of {', '.join(absent)}" if absent else ""
        return [f"{len(rows)} clips found, {spec.clips} expected ({counts}){none}"]
    if spec.expected_total is not None and len(rows) + skipped != spec.expected_total:
        left_out = f" and {skipped} left out" if skipped else ""
        return [f"{len(rows)} clips found{left_out}, {spec.expected_total} expected"]
    splits = Counter(row["split"] for row in rows)
    if any(splits[split] != count for split, count in spec.expected_splits.items()):
        counts = ", ".join(f"{split} {splits[split]} of {count}" for split, count in spec.expected_splits.items())
        return [f"all clips found, but in other splits than published: {counts}"]
    speakers = len({row["speaker"] for row in rows} - {None})
    if spec.speakers is not None and spec.clips is not None and speakers != spec.speakers:
        return [f"all clips found, but of {speakers} speakers, {spec.speakers} expected"]
    return []


def _resolve_genders(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Set the gender of speakers with two genders to null, in place, and return the warning about it."""
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
    return [f"{len(both)} speakers have both genders in the file names, read as null: {join_some(sorted(both))}"]
