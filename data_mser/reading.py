# SPDX-License-Identifier: Apache-2.0
"""From a folder on disk to rows: one engine for every corpus that `data_mser.corpora` declares.

No audio is opened here; a row carries the path.
"""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from processing_mser.emotions_mser import UnknownEmotionError, canonical_emotion

from .corpora import CORPORA, FOLDER, CorpusSpec
from .corpus_reading import CorpusError, CorpusReading, audio_files, check_ids
from .folder import read_folder
from .m5ser.loading import read_m5ser
from .m5ser.schema import M5SER_CORPUS
from .schema import new_row


def read_corpus(name: str, path: str | Path) -> CorpusReading:
    """Read a corpus.

    Args:
        name: a name of `CORPORA`, `folder` for the user's own data (see `data_mser.folder.read_folder`), or `m5ser`
            for what the builder wrote (see `data_mser.m5ser.loading.read_m5ser`).
        path: the corpus's folder, anything above its audio files; for `folder` a CSV or TSV file too.

    Returns:
        the rows in the order of their paths, with `duration` null, and what was found beside what was expected.

    Raises:
        CorpusError: an unknown name, a wrong path, no audio, nothing that matches, or two files of one id.
    """
    path = Path(path).expanduser()
    check_name(name)
    if not path.exists():
        raise CorpusError(f"{path}: there is no such folder; check the path in {name}=PATH (seen from {Path.cwd()})")
    if name == FOLDER:
        return read_folder(path)
    if name == M5SER_CORPUS and path.is_dir():
        return read_m5ser(path)
    if not path.is_dir():
        raise CorpusError(f"{path}: is a file; give the folder of {name} in {name}=PATH")
    return _read_declared(CORPORA[name], path)


def parse_corpora(arguments: Sequence[str]) -> dict[str, tuple[str, Path]]:
    """`["ravdess=PATH", "folder=PATH", ...]` to key -> (name, path).

    The key is the name. Where a name comes more than once, its keys are `name:` and as many last parts of each path as
    tell them apart.

    Raises:
        CorpusError: not NAME=PATH, an unknown name, or the same NAME=PATH twice.
    """
    pairs = []
    for argument in arguments:
        name, equals, text = argument.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name or not text:
            raise CorpusError(f"{argument!r} is not NAME=PATH; write for example ravdess=/data/ravdess")
        check_name(name)
        pair = (name, Path(text).expanduser())
        if pair in pairs:
            raise CorpusError(f"{argument!r} is given twice; give it once")
        pairs.append(pair)
    corpora = {}
    for name, path in pairs:
        others = [other.absolute().parts for key, other in pairs if key == name and other is not path]
        key, parts = name, path.absolute().parts
        if others:
            length = next((n for n in range(1, len(parts)) if parts[-n:] not in {o[-n:] for o in others}), len(parts))
            key = f"{name}:{'/'.join(parts[-length:])}"
        corpora[key] = (name, path)
    return corpora


def check_name(name: str) -> None:
    if name not in (FOLDER, M5SER_CORPUS, *CORPORA):
        raise CorpusError(
            f"there is no corpus {name!r}; the corpora are {', '.join(CORPORA)}, and {FOLDER} for your own data, "
            f"{M5SER_CORPUS} for what run-mser m5ser build wrote"
        )


def _read_declared(spec: CorpusSpec, path: Path) -> CorpusReading:
    files = audio_files(path, f"get {spec.name} from {spec.how_to_get}, and give its folder")
    pattern, depth = re.compile(spec.pattern), spec.pattern.count("/") + 1
    warnings: list[str] = []
    table = _read_table(spec, path, warnings)
    rows, unmatched, skipped = [], [], Counter[str]()
    for file in files:
        parts = (*file.relative_to(path).parts[:-1], file.stem)
        match = pattern.fullmatch("/".join(parts[-depth:]))
        if match is None:
            unmatched.append(file)
            continue
        fields = {**table.get(file.stem, {}), **{key: value or "" for key, value in match.groupdict().items()}}
        reason = next((why[fields[key]] for key, why in spec.skip.items() if fields[key] in why), None)
        if reason is not None:
            skipped[reason] += 1
            continue
        try:
            emotion = canonical_emotion(spec.emotion(fields) or "", spec.name)
        except UnknownEmotionError:
            unmatched.append(file)
            continue
        speaker = spec.speaker(fields)
        rows.append(
            new_row(
                id="/".join(parts[-depth:]),
                path=file,
                corpus=spec.name,
                emotion=emotion,
                language=spec.language,
                speaker=f"{spec.name}-{speaker}" if speaker else None,
                gender=spec.gender(fields),
                transcript=spec.transcript(fields),
                split=spec.split(fields),
            )
        )
    if not rows:
        left_out = "".join(f"; left out {count}: {reason}" for reason, count in skipped.items())
        raise CorpusError(
            f"{path}: is not {spec.name}: none of its {len(files)} audio files, such as {files[0].name}, is a clip "
            f"named like {spec.example}{left_out}; check NAME and PATH, or read your own files with folder=PATH"
        )
    check_ids(spec.name, rows)
    if unmatched:
        warnings.append(
            f"{len(unmatched)} audio files are not named like {spec.example} with a known label and were not read"
        )
    found = Counter(row["emotion"] for row in rows)
    warnings += _count_warnings(spec, found)
    ordered = {emotion: found[emotion] for emotion in [*spec.expected, *sorted(found)] if found[emotion]}
    return CorpusReading(
        name=spec.name,
        path=path,
        rows=rows,
        expected=dict(spec.expected),
        found=ordered,
        unmatched=unmatched,
        warnings=warnings,
        skipped=dict(skipped),
    )


def _read_table(spec: CorpusSpec, path: Path, warnings: list[str]) -> dict[str, dict[str, str]]:
    if spec.table is None:
        return {}
    file = path / spec.table.name
    if not file.is_file():
        warnings.append(f"{file} is not there, so the columns that it gives are null; put it back to have them")
        return {}
    table = {}
    with open(file, newline="", encoding="utf-8-sig") as lines:
        for line in csv.DictReader(lines, delimiter=spec.table.delimiter):
            fields = {key: value.strip() for key, value in line.items() if key and value is not None}
            key = spec.table.key(fields)
            if key is not None:
                table[Path(key).stem] = fields
    return table


def _count_warnings(spec: CorpusSpec, found: Mapping[str, int]) -> list[str]:
    differ = [emotion for emotion, count in spec.expected.items() if found.get(emotion, 0) != count]
    if not differ:
        return []
    counts = ", ".join(f"{emotion} {found.get(emotion, 0)} of {spec.expected[emotion]}" for emotion in differ)
    warning = f"{sum(found.values())} clips found, {sum(spec.expected.values())} expected ({counts})"
    absent = [emotion for emotion in differ if not found.get(emotion)]
    return [warning + (f"; no clip at all of {', '.join(absent)}" if absent else "")]
