# SPDX-License-Identifier: Apache-2.0
"""From NAME=PATH to rows, whichever reader the name asks for.

No audio is opened here; a row carries the path.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from mser_llm.data.corpora import CORPORA, FOLDER
from mser_llm.data.corpus_reader import read_known_corpus
from mser_llm.data.folder_reader import read_folder
from mser_llm.data.loaded_corpus import CorpusError, LoadedCorpus
from mser_llm.data.m5ser_reader import read_m5ser
from mser_llm.data.schema import M5SER_CORPUS


def read_corpus(name: str, path: str | Path) -> LoadedCorpus:
    """Read a corpus.

    Args:
        name: a name of `CORPORA`, in any case and with or without its hyphen; `folder` for the user's own data (see
            `mser_llm.data.folder_reader.read_folder`), or `m5ser` for what the builder wrote (see
            `mser_llm.data.m5ser_reader.read_m5ser`).
        path: the corpus's folder, anything above its audio files; for `folder` a CSV or TSV file too.

    Returns:
        the rows in the order of their paths, with `duration` null, and what was found beside what was expected.

    Raises:
        CorpusError: an unknown name, a wrong path, no audio, nothing that matches, or two files of one id.
    """
    path, name = Path(path).expanduser(), resolve_corpus_name(name)
    if not path.exists():
        raise CorpusError(f"{path}: there is no such folder; check the path in {name}=PATH (seen from {Path.cwd()})")
    if not (path.is_dir() or path.is_file()):
        raise CorpusError(f"{path}: is a device, pipe or socket; pass the folder of the corpus in {name}=PATH")
    if name == FOLDER:
        return read_folder(path)
    if name == M5SER_CORPUS and path.is_dir():
        return read_m5ser(path)
    if not path.is_dir():
        raise CorpusError(f"{path}: is a file; give the folder of {name} in {name}=PATH")
    return read_known_corpus(CORPORA[name], path)


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
        pair = (resolve_corpus_name(name), Path(text).expanduser())
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


def resolve_corpus_name(name: str) -> str:
    """The name of a corpus as this project writes it: `CREMA_D` and `cremad` are `crema-d`.

    Raises:
        CorpusError: there is none; the message names the nearest.
    """
    names = {_letters(known): known for known in (*CORPORA, FOLDER, M5SER_CORPUS)}
    if _letters(name) in names:
        return names[_letters(name)]
    nearest = difflib.get_close_matches(_letters(name), names, n=1)
    raise CorpusError(
        f"there is no corpus {name!r}{f' (did you mean {names[nearest[0]]}?)' if nearest else ''}; the corpora are "
        f"{', '.join(CORPORA)}, and {FOLDER} for your own data, {M5SER_CORPUS} for what run-mser m5ser build wrote"
    )


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
