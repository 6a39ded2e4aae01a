# SPDX-License-Identifier: Apache-2.0
"""Read any corpus from `NAME=PATH`: published corpora, the user's own data, and M5SER."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from mser_llm.data.corpora import CORPORA, FOLDER
from mser_llm.data.corpus_reader import read_known_corpus
from mser_llm.data.folder_reader import read_folder
from mser_llm.data.loaded_corpus import CorpusError, LoadedCorpus
from mser_llm.data.m5ser_reader import read_m5ser
from mser_llm.data.schema import M5SER_CORPUS
from mser_llm.data.table_columns import letters


def read_corpus(name: str, path: str | Path) -> LoadedCorpus:
    """
    Read a corpus. No audio file is opened; rows contain paths.

    Args:
        name: a name of `CORPORA`, in any case and with or without its hyphen; `folder` for the user's own data
            ([`mser_llm.data.folder_reader.read_folder`]); `m5ser` for the output of `run-mser m5ser build`
            ([`mser_llm.data.m5ser_reader.read_m5ser`]).
        path: the folder of the corpus, or any folder above its audio files; for `folder` also a CSV or TSV file.

    Returns:
        rows in the order of their paths, with `duration` null, and the differences from the published counts.

    Raises:
        CorpusError: an unknown name, a wrong path, no audio, no matching file, or two files with one id.
    """
    path, name = Path(path).expanduser(), resolve_corpus_name(name)
    if not path.exists():
        raise CorpusError(path, f"does not exist (seen from {Path.cwd()})", f"check the path in {name}=PATH")
    if not (path.is_dir() or path.is_file()):
        raise CorpusError(path, "is a device, pipe or socket", f"pass the folder of the corpus as {name}=PATH")
    if name == FOLDER:
        return read_folder(path)
    if not path.is_dir():
        raise CorpusError(path, "is a file", f"pass the folder of {name} as {name}=PATH")
    return read_m5ser(path) if name == M5SER_CORPUS else read_known_corpus(CORPORA[name], path)


def parse_corpora(arguments: Sequence[str]) -> dict[str, tuple[str, Path]]:
    """
    Parse `["ravdess=PATH", "folder=PATH", ...]` to key -> (name, path).

    The key is the name. If a name occurs more than once, its keys are `name:` and as many last components of each path
    as are needed to distinguish them.

    Raises:
        CorpusError: not NAME=PATH, an unknown name, or the same NAME=PATH twice.
    """
    pairs = []
    for argument in arguments:
        name, equals, text = argument.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name or not text:
            raise CorpusError(repr(argument), "is not NAME=PATH", "write for example ravdess=/data/ravdess")
        pair = (resolve_corpus_name(name), Path(text).expanduser())
        if pair in pairs:
            raise CorpusError(repr(argument), "is given twice", "pass it once")
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


def resolve_corpus_name(name: str) -> str:
    """
    Return the name of a corpus as this project spells it: `crema-d` for `CREMA_D` and `cremad`.

    Raises:
        CorpusError: there is no such corpus; the message suggests the nearest name.
    """
    names = {letters(known): known for known in (*CORPORA, FOLDER, M5SER_CORPUS)}
    if letters(name) in names:
        return names[letters(name)]
    nearest = difflib.get_close_matches(letters(name), names, n=1)
    raise CorpusError(
        f"corpus {name!r}",
        "is unknown" + (f" (did you mean {names[nearest[0]]}?)" if nearest else ""),
        f"choose from {', '.join(CORPORA)}, {FOLDER} for your own data, {M5SER_CORPUS} for the output of run-mser "
        "m5ser build",
    )
