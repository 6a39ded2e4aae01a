# SPDX-License-Identifier: Apache-2.0
"""Read the corpus `folder`: a user's own recordings, in class folders or listed in a CSV or TSV file."""

import csv
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mser_llm.data.corpora import FOLDER
from mser_llm.data.languages import LANGUAGES
from mser_llm.data.listing import list_files, without_extension
from mser_llm.data.loaded_corpus import (
    UNLABELED,
    CorpusError,
    LoadedCorpus,
    join_some,
    listing_warnings,
    unsupported_formats,
)
from mser_llm.data.schema import new_row
from mser_llm.data.table_columns import TableColumns, table_columns
from mser_llm.io.spreadsheets import read_table_text
from processing_mser.emotions_mser import EMOTION_SYNONYMS, canonical_emotion, suggest_emotion


TABLE_EXTENSIONS = (".csv", ".tsv")
_GENDERS = dict.fromkeys(("f", "female", "w", "woman"), "female") | dict.fromkeys(("m", "male", "man"), "male")
_LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(-[a-zA-Z0-9]{2,8})*")
_AS_FOLDERS = "put the recordings into folders named after their emotions (angry/, happy/)"
_FIX = f"{_AS_FOLDERS}, or pass a CSV file with the columns path and emotion"


def read_folder(path: Path) -> LoadedCorpus:
    """
    Read a user's own data.

    `path` is one of

    - a `.csv` or `.tsv` file, or a folder with exactly one whose header has `path` and `emotion`. Each line is a clip;
      paths are absolute or relative to the file's folder. Optional columns: speaker, language, gender, transcript,
      split. Aliases such as `file_name` and `label` (`table_columns.ALIASES`) are accepted; unused columns are
      reported. An empty emotion is an unlabeled clip. Of a language tag (`en-US`) the first part is used. Listed
      files that do not exist are counted and reported.
    - a folder of class folders, at any depth. The level whose names are most often emotion words (`EMOTION_SYNONYMS`)
      gives the class. If no level has any, the first one does, and its names are used as they are. Speaker, language
      and the other columns are null.

    The id of a row is its path as written, relative to the folder. Speakers share one name space: the same name in two
    folders counts as one person, so that no leak is missed.

    Raises:
        CorpusError: no audio, no class folders, a table without the two columns or without an existing file, or a
            clip that is listed twice.
    """
    if path.is_file():
        if path.suffix.lower() not in TABLE_EXTENSIONS:
            raise CorpusError(path, "is neither a folder nor a .csv or .tsv file", _FIX)
        return _read_table(path)
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in TABLE_EXTENSIONS]
    errors = {file: _table_error(file) for file in files if not file.name.startswith(".")}
    tables = [file for file, error in errors.items() if error is None or _lists_clips(file)]
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise CorpusError(path, f"contains several tables ({names})", f"pass the one to read, as folder={tables[0]}")
    if tables:
        return _read_table(tables[0])
    return _read_class_folders(path, [error for error in errors.values() if error is not None])


def _read_class_folders(path: Path, table_errors: Sequence[CorpusError]) -> LoadedCorpus:
    """Read a folder whose tables cannot be used for the given reasons."""
    listing = list_files(path)
    if not listing.audio and not listing.media:
        raise CorpusError(path, "contains no audio file", _FIX)
    if not listing.audio:
        raise CorpusError(path, *unsupported_formats(path, listing.media))
    folders = {file: file.split("/")[:-1] for file in listing.audio}
    hits = Counter(
        level for parts in folders.values() for level, part in enumerate(parts) if part.lower() in EMOTION_SYNONYMS
    )
    level = min(hits, key=lambda level: (-hits[level], level), default=0)
    rows, unmatched = [], []
    for file, parts in folders.items():
        if len(parts) <= level:
            unmatched.append(path / file)
            continue
        rows.append(new_row(id=file, path=path / file, corpus=FOLDER, emotion=canonical_emotion(parts[level])))
    # A single class folder that is not named after an emotion is no class: the user meant the table.
    if table_errors and (not rows or (not hits and len({row["emotion"] for row in rows}) == 1)):
        error = table_errors[0]
        raise CorpusError(error.source, error.problem, f"{error.fix}; or {_AS_FOLDERS}")
    if not rows:
        raise CorpusError(path, f"none of its {len(listing.audio)} audio files is in a folder", _FIX)
    # The other columns of such a table, such as the speaker, are not used either.
    warnings = [f"{error}; the table is not used" for error in table_errors]
    if unmatched:
        warnings.append(f"{len(unmatched)} audio files are not in a folder named after an emotion and were not read")
    read = {without_extension(file) for file in listing.audio}
    unopened = [file for file in listing.media if without_extension(file) not in read]
    if unopened:
        problem, fix = unsupported_formats(path, unopened)
        warnings.append(f"{len(unopened)} recordings were not read: {problem}; {fix}")
    warnings += listing_warnings(listing)
    unmatched += [path / file for file in [*unopened, *listing.unreadable]]
    return _loaded_corpus(path, rows, unmatched, [], warnings)


def _read_table(path: Path) -> LoadedCorpus:
    lines = _lines(path)
    columns = _columns(path, lines)
    rows, missing = [], []
    genders: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    listed: dict[str, int] = {}
    for number, values in lines[1:]:
        if not any(value.strip() for value in values):
            continue
        cells = {column: value.strip() for column, value in zip(columns.names, values) if column is not None}
        if any(value.strip() for value in values[len(columns.names) :]):
            raise CorpusError(
                path,
                f"line {number} has {len(values)} cells, the header {len(columns.names)}",
                "put quotation marks around a cell that contains the separator",
            )
        if not cells.get("path"):
            raise CorpusError(path, f"line {number} has no path", "fill it in, or remove the line")
        clip, file = _find_file(path.parent, cells["path"])
        if file is None:
            missing.append(path.parent / os.path.expanduser(clip))
            continue
        first = listed.setdefault(os.path.abspath(file), number)
        if first != number:
            problem = f"lines {first} and {number} list the same file, {cells['path']}"
            raise CorpusError(path, problem, "remove one of them")
        gender = cells.get("gender", "")
        if gender and gender.lower() not in _GENDERS:
            genders[gender] += 1
        language = _language(cells.get("language", ""))
        if language and not _LANGUAGE_TAG.fullmatch(language):
            languages[cells["language"]] += 1
        speaker = cells.get("speaker")
        rows.append(
            new_row(
                id=clip,
                path=file,
                corpus=FOLDER,
                emotion=canonical_emotion(cells["emotion"]) if cells.get("emotion") else None,
                language=language or None,
                speaker=f"{FOLDER}-{speaker}" if speaker else None,
                gender=_GENDERS.get(gender.lower()),
                transcript=cells.get("transcript") or None,
                split=cells.get("split") or None,
            )
        )
    if not rows and missing:
        problem = f"none of the {len(missing)} listed files exists, such as {missing[0]}"
        raise CorpusError(path, problem, f"write paths relative to {path.parent}")
    if not rows:
        raise CorpusError(path, "lists no clip", "write one line per clip below the header")
    warnings = _table_warnings(rows, genders, languages)
    if missing:
        warnings.insert(0, f"{len(missing)} of {len(missing) + len(rows)} listed files do not exist and were not read")
    return _loaded_corpus(path, rows, [], missing, [*columns.warnings(), *warnings])


def _table_warnings(rows: Sequence[dict], genders: Counter[str], languages: Counter[str]) -> list[str]:
    """Warn of unknown genders and of languages that are no codes, both as written, and of the rows of a table."""
    warnings = []
    numbers = sorted({row["emotion"] for row in rows if row["emotion"] and row["emotion"].isdigit()})
    if numbers:
        warnings.append(f"the emotions {join_some(numbers)} are numbers; write words instead")
    if genders:
        warnings.append(
            f"gender {', '.join(sorted(genders))} read as null ({sum(genders.values())} clips); write female or male"
        )
    if languages:
        codes = {name.lower(): code for code, name in LANGUAGES.items()}
        known = [f"{codes[name.lower()]} for {name}" for name in sorted(languages) if name.lower() in codes]
        warnings.append(
            f"language {join_some(sorted(languages))} ({sum(languages.values())} clips) is not a code and counts as a "
            f"language of its own; write ISO 639-1 ({', '.join(known) or 'en for English'}), or leave it empty"
        )
    names: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["speaker"]:
            name = row["speaker"].removeprefix(f"{FOLDER}-")
            names.setdefault(unicodedata.normalize("NFC", name).casefold(), {})[name] = None
    alike = [" and ".join(spellings) for spellings in names.values() if len(spellings) > 1]
    if alike:
        warnings.append(
            f"{join_some(alike)} count as different speakers; if they are one person, use one spelling, or the person "
            "may be in training and in validation"
        )
    return warnings


def _find_file(folder: Path, written: str) -> tuple[str, Path | None]:
    """Return the path as written, with `/`, and the file, or None if it does not exist."""
    # Tables written on Windows separate folders by `\\`, and file names from macOS have decomposed accents.
    for path in dict.fromkeys((written, written.replace("\\", "/"))):
        for form in (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)):
            file = folder / os.path.expanduser(form)
            if os.path.isfile(file):
                return Path(path).as_posix(), file
    return written, None


def _loaded_corpus(
    path: Path, rows: list[dict], unmatched: list[Path], missing: list[Path], warnings: list[str]
) -> LoadedCorpus:
    found = Counter(row["emotion"] or UNLABELED for row in rows)
    near = {emotion: suggest_emotion(emotion) for emotion in found}
    misspelled = [f"{emotion} (did you mean {word}?)" for emotion, word in near.items() if word is not None]
    if misspelled:
        warnings.append(f"{join_some(misspelled)} counts as a separate emotion; correct it if it is misspelled")
    return LoadedCorpus(
        name=FOLDER,
        path=path,
        rows=rows,
        expected={},
        found=dict(found.most_common()),
        unmatched=unmatched,
        warnings=warnings,
        missing=missing,
    )


def _table_error(path: Path) -> CorpusError | None:
    """Why a file cannot be used as a table of clips; None if it can."""
    try:
        _columns(path, _lines(path))
    except CorpusError as error:
        return error
    return None


def _language(written: str) -> str:
    """Return `en` for `en-US`, `en_GB` and `EN`; text that is no tag of BCP 47 in lower case."""
    tag = written.lower().replace("_", "-")
    if tag == "zh-hk":
        return "zh-HK"  # Cantonese, as in Common Voice; zh means Mandarin here
    return tag.partition("-")[0] if _LANGUAGE_TAG.fullmatch(tag) else written.lower()


def _lists_clips(path: Path) -> bool:
    """Whether the header has the two columns, even if the rest cannot be read."""
    lines = read_table_text(path, errors="replace").splitlines()
    header = next((line for line in lines if not line.startswith("sep=")), "")
    try:
        return not table_columns(path, [cell.strip(' "') for cell in re.split("[,;\t]", header)]).absent
    except CorpusError:  # two columns of one name: the user must choose
        return True


def _columns(path: Path, lines: Sequence[tuple[int, list[str]]]) -> TableColumns:
    header = lines[0][1] if lines else []
    columns = table_columns(path, header)
    if columns.absent:
        present = ", ".join(cell.strip() for cell in header) or "an empty header"
        problem = f"has no column {' and no column '.join(columns.absent)}, only {present}"
        raise CorpusError(path, problem, "name the columns in the first line")
    return columns


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines of a table with their numbers."""
    try:
        text = io.StringIO(read_table_text(path), newline=None).read()
    except UnicodeDecodeError as error:
        problem = f"is not {error.encoding.upper()} text (byte {error.start})"
        raise CorpusError(path, problem, "save it as CSV in UTF-8") from error
    header, _, rest = text.partition("\n")
    named = re.fullmatch(r"sep=(.)\r?", header)  # written by Excel
    if named:
        text = rest
    # Spreadsheets in half of Europe write semicolons. The separator is the one that the header has most of.
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max((",", ";", "\t"), key=header.count)
    delimiter = named[1] if named else delimiter
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(reader.line_num + bool(named), values) for values in reader]
    except csv.Error as error:
        raise CorpusError(
            path,
            f"line {reader.line_num + bool(named)} cannot be read ({error})",
            "close its quotation marks, and double those that are part of the text",
        ) from error
