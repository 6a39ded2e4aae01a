# SPDX-License-Identifier: Apache-2.0
"""The corpus `folder`: a user's own recordings, in class-named folders or listed in a CSV or TSV file."""

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
from mser_llm.data.loaded_corpus import UNLABELLED, CorpusError, LoadedCorpus, extraction, passed_over, some
from mser_llm.data.schema import new_row
from mser_llm.data.table_columns import TableColumns, table_columns
from mser_llm.io.spreadsheets import read_table_text
from processing_mser.emotions_mser import CORPUS_LABELS, canonical_emotion, near_emotion


TABLE_EXTENSIONS = (".csv", ".tsv")
_GENDERS = {"f": "female", "female": "female", "w": "female", "woman": "female"} | {
    "m": "male",
    "male": "male",
    "man": "male",
}
_LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(-[a-zA-Z0-9]{2,8})*")
_AS_FOLDERS = "put the recordings into folders named after their emotions (angry/, happy/)"
_HOW_TO = f"{_AS_FOLDERS}, or pass a CSV file with the columns path and emotion"


def read_folder(path: Path) -> LoadedCorpus:
    """Read a user's own data.

    `path` may be

    - a `.csv` or `.tsv` file, or a folder with exactly one whose header has `path` and `emotion`: one clip a line,
      paths relative to the file's folder or absolute; optional columns speaker, language, gender, transcript, split.
      Usual aliases count too (`table_columns.ALIASES`): `file_name` and `label`, as in the `metadata.csv` of
      Hugging Face, or `speaker_id`. Columns that are not used are reported. An empty emotion is an unlabelled clip. Of
      a language tag (`en-US`) the first part counts. Files that are not there are counted and listed, not read.
    - a folder of class-named folders, at any depth: the level whose names are most often emotion words (see
      `CORPUS_LABELS["folder"]`) names the class; where none is, the first level does, and its words are kept as they
      are. Speaker, language and the rest are null.

    A row's id is its path as written, relative to the folder. Speakers share one name space: the same name in two
    folders is taken for the same person, so that no leak goes unseen.

    Raises:
        CorpusError: no audio, no class folders, a table without the two columns or without one existing file, or a
            clip listed twice.
    """
    if path.is_file():
        if path.suffix.lower() not in TABLE_EXTENSIONS:
            raise CorpusError(f"{path}: is neither a folder nor a .csv or .tsv file; {_HOW_TO}")
        return _read_table(path)
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in TABLE_EXTENSIONS]
    faults = {file: _fault_of_table(file) for file in files if not file.name.startswith(".")}
    tables = [file for file, fault in faults.items() if fault is None or _is_of_clips(file)]
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise CorpusError(f"{path}: holds several tables ({names}); give the one to read, as folder={tables[0]}")
    if tables:
        return _read_table(tables[0])
    return _read_class_folders(path, [fault for fault in faults.values() if fault is not None])


def _read_class_folders(path: Path, faults: Sequence[str]) -> LoadedCorpus:
    """
    Args:
        path: the folder.
        faults: of each table in it, why its clips cannot be read from there.
    """
    listing = list_files(path)
    if not listing.audio and not listing.media:
        raise CorpusError(f"{path}: holds no audio file; {_HOW_TO}")
    if not listing.audio:
        raise CorpusError(f"{path}: its recordings are there only as {extraction(path, listing.media)}")
    folders = {file: file.split("/")[:-1] for file in listing.audio}
    words = CORPUS_LABELS[FOLDER]
    hits = Counter(level for parts in folders.values() for level, part in enumerate(parts) if part.lower() in words)
    level = min(hits, key=lambda level: (-hits[level], level), default=0)
    rows, unmatched = [], []
    for file, parts in folders.items():
        if len(parts) <= level:
            unmatched.append(path / file)
            continue
        emotion = canonical_emotion(parts[level], FOLDER)
        rows.append(new_row(id=file, path=path / file, corpus=FOLDER, emotion=emotion))
    if not rows:
        nowhere = f"{path}: none of its {len(listing.audio)} audio files lies in a folder named after an emotion"
        raise CorpusError(f"{faults[0]}; or {_AS_FOLDERS}" if faults else f"{nowhere}; {_HOW_TO}")
    if faults and not hits and len({row["emotion"] for row in rows}) == 1:
        # One folder of another name is no class: its clips are what the table speaks of.
        raise CorpusError(f"{faults[0]}; or {_AS_FOLDERS}")
    # With its other columns, such as the speaker, nothing of it is used.
    warnings = [f"{fault}; until then the table is not used" for fault in faults]
    if unmatched:
        warnings.append(f"{len(unmatched)} audio files lie in no folder named after an emotion and were not read")
    read = {without_extension(file) for file in listing.audio}
    unopened = [file for file in listing.media if without_extension(file) not in read]
    if unopened:
        warnings.append(f"{len(unopened)} recordings are there only as {extraction(path, unopened)}")
    warnings += passed_over(listing)
    unmatched += [path / file for file in [*unopened, *listing.unreadable]]
    return _reading(path, rows, unmatched, [], warnings)


def _read_table(path: Path) -> LoadedCorpus:
    lines = _lines(path)
    columns = _columns(path, lines)
    unused = columns.warning()
    rows, missing, warnings = [], [], [] if unused is None else [unused]
    genders: Counter[str] = Counter()
    names_of_languages: Counter[str] = Counter()
    listed: dict[str, int] = {}
    for number, values in lines[1:]:
        if not any(value.strip() for value in values):
            continue
        cells = {column: value.strip() for column, value in zip(columns.names, values) if column is not None}
        if any(value.strip() for value in values[len(columns.names) :]):
            raise CorpusError(
                f"{path}: line {number} has {len(values)} cells and the header {len(columns.names)}; put quotation "
                "marks around a cell that holds the separator"
            )
        if not cells.get("path"):
            raise CorpusError(f"{path}: line {number} has no path; fill it in or remove the line")
        clip, file = _found(path.parent, cells["path"])
        if file is None:
            missing.append(path.parent / os.path.expanduser(clip))
            continue
        first = listed.setdefault(os.path.abspath(file), number)
        if first != number:
            raise CorpusError(f"{path}: line {number} lists {cells['path']} of line {first} again; remove one of them")
        gender = cells.get("gender", "")
        if gender and gender.lower() not in _GENDERS:
            genders[gender] += 1
        language = _language(cells.get("language", ""))
        if language and not _LANGUAGE_TAG.fullmatch(language):
            names_of_languages[cells["language"]] += 1
        speaker = cells.get("speaker")
        rows.append(
            new_row(
                id=clip,
                path=file,
                corpus=FOLDER,
                emotion=canonical_emotion(cells["emotion"], FOLDER) if cells.get("emotion") else None,
                language=language or None,
                speaker=f"{FOLDER}-{speaker}" if speaker else None,
                gender=_GENDERS.get(gender.lower()),
                transcript=cells.get("transcript") or None,
                split=cells.get("split") or None,
            )
        )
    if not rows:
        if missing:
            raise CorpusError(
                f"{path}: none of the {len(missing)} files that it lists is there, such as {missing[0]}; paths are "
                f"relative to {path.parent}"
            )
        raise CorpusError(f"{path}: lists no clip; write one line a clip under the header")
    if missing:
        warnings.append(f"{len(missing)} of {len(missing) + len(rows)} listed files are not there and were not read")
    numbers = sorted({row["emotion"] for row in rows if row["emotion"] and row["emotion"].isdigit()})
    if numbers:
        warnings.append(f"the emotions {some(numbers)} are numbers; write the words that they stand for")
    if genders:
        warnings.append(
            f"gender {', '.join(sorted(genders))} read as null ({sum(genders.values())} clips); write female or male"
        )
    if names_of_languages:
        known = {name.lower(): code for code, name in LANGUAGES.items()}
        codes = [f"{known[name.lower()]} for {name}" for name in sorted(names_of_languages) if name.lower() in known]
        warnings.append(
            f"language {some(sorted(names_of_languages))} ({sum(names_of_languages.values())} clips) is no code "
            f"and counts as a language of its own; write ISO 639-1 ({', '.join(codes) or 'en for English'}), or leave "
            "it empty"
        )
    names: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["speaker"]:
            name = row["speaker"].removeprefix(f"{FOLDER}-")
            names.setdefault(unicodedata.normalize("NFC", name).casefold(), {})[name] = None
    alike = [" and ".join(spellings) for spellings in names.values() if len(spellings) > 1]
    if alike:
        warnings.append(
            f"{some(alike)} count as different speakers; write one name where they are one person, or the voice may "
            "be in training and in validation"
        )
    return _reading(path, rows, [], missing, warnings)


def _found(folder: Path, written: str) -> tuple[str, Path | None]:
    """
    What a table calls a file, with `/`, and the file, if it is there.

    A table that was written on Windows parts folders by `\\`, and one and the same accent is one letter there and two
    in a name that comes from macOS.
    """
    for path in dict.fromkeys((written, written.replace("\\", "/"))):
        for form in (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)):
            file = folder / os.path.expanduser(form)
            if os.path.isfile(file):
                return Path(path).as_posix(), file
    return written, None


def _reading(
    path: Path, rows: list[dict], unmatched: list[Path], missing: list[Path], warnings: list[str]
) -> LoadedCorpus:
    found = Counter(row["emotion"] or UNLABELLED for row in rows)
    near = {emotion: near_emotion(emotion) for emotion in found}
    misspelt = [f"{emotion} (did you mean {word}?)" for emotion, word in near.items() if word is not None]
    if misspelt:
        warnings.append(f"{some(misspelt)} counts as an emotion of its own; correct it where it is a misspelling")
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


def _fault_of_table(path: Path) -> str | None:
    """Why a file is no table of clips; `None` where it is one."""
    try:
        _columns(path, _lines(path))
    except CorpusError as error:
        return str(error)
    return None


def _language(written: str) -> str:
    """`en` of `en-US`, `en_GB` and `EN`, and in lower case what is no tag of BCP 47."""
    tag = written.lower().replace("_", "-")
    if tag == "zh-hk":
        return "zh-HK"  # Cantonese, as in Common Voice, and not the Mandarin that zh means here
    return tag.partition("-")[0] if _LANGUAGE_TAG.fullmatch(tag) else written.lower()


def _is_of_clips(path: Path) -> bool:
    """Whether the header names the two columns, whatever cannot be read in the rest."""
    lines = read_table_text(path, errors="replace").splitlines()
    header = next((line for line in lines if not line.startswith("sep=")), "")
    try:
        return not table_columns(path, [cell.strip(' "') for cell in re.split("[,;\t]", header)]).absent
    except CorpusError:  # two columns of one name, of which the reader is to choose
        return True


def _columns(path: Path, lines: Sequence[tuple[int, list[str]]]) -> TableColumns:
    """
    Args:
        path: the table, for messages.
        lines: as `_lines` gives them.

    Raises:
        CorpusError: no path or no emotion, or one of the columns twice.
    """
    header = lines[0][1] if lines else []
    columns = table_columns(path, header)
    if columns.absent:
        present = ", ".join(cell.strip() for cell in header) or "an empty header"
        raise CorpusError(
            f"{path}: has no column {' and no column '.join(columns.absent)}, only {present}; name them in the first "
            "line"
        )
    return columns


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of a table with their numbers."""
    try:
        text = io.StringIO(read_table_text(path), newline=None).read()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: is not {error.encoding.upper()} text (byte {error.start}); save it as CSV in UTF-8"
        ) from error
    header, _, rest = text.partition("\n")
    named = re.fullmatch(r"sep=(.)\r?", header)  # a line of Excel's
    if named:
        text = rest
    # Commas, tabs, or the semicolons of a spreadsheet in half of Europe: whichever the header has most of.
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max((",", ";", "\t"), key=header.count)
    delimiter = named[1] if named else delimiter
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(reader.line_num + bool(named), values) for values in reader]
    except csv.Error as error:
        raise CorpusError(
            f"{path}: line {reader.line_num + bool(named)} cannot be read ({error}); close its quotation marks, and "
            "double those that belong to the text"
        ) from error
