# SPDX-License-Identifier: Apache-2.0
"""Answers that a model gave before: an unchanged evaluation does not run it again, nor load it."""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from modeling_mser.labels_mser import check_labels
from mser_llm.inference.clip_digests import content_of
from mser_llm.inference.deferred_model import DeferredModel
from mser_llm.inference.prefetch import load_clip
from mser_llm.inference.recognition import Recognition, recognize
from mser_llm.inference.scoring_options import ScoringOptions


class PredictionCache:
    """
    Answers by the content of the clip, in one file for each model and its settings.

    An answer is found again only where all is the same that it depends on: the clip's bytes; the model's weights,
    configuration, backbones, code, libraries and kind of device (`DeferredModel.fingerprint`); the words in their
    order, the wording of the prompt, `decode`, `pad_to`, `length_normalize` and `prior_correction`. A line that a
    killed process left torn is passed over. Where no answer can be kept, on a full disk, that is said once on standard
    error, and everything is answered all the same.

    Args:
        directory: made when there is something to keep; several processes may use it at once.

    Attributes:
        found: answers that were here.
        given: answers that the model gave.
    """

    def __init__(self, directory: str | PathLike):
        self.directory = Path(directory).expanduser()
        self.found = self.given = 0
        self._full = False

    def recognize(
        self,
        model: DeferredModel,
        processor: Any,
        sources: Sequence[Any],
        words: Sequence[str],
        options: ScoringOptions,
        progress: bool = False,
    ) -> Iterator[Recognition]:
        """
        As `mser_llm.inference.recognition.recognize`, which is asked only for what is not here.

        Args:
            model: loaded if any clip is to be answered anew.
            processor, words, options: as there.
            sources: as there, but all of them at once. Other forms than a path, bytes and `{"bytes", "path"}` are
                always answered anew.
            progress: show a bar while the clips are compared with what is here.
        """
        unlearned = check_labels(model.config, words, options.allow_unlearned_labels)  # also for kept predictions
        question = {"words": list(words), "prompt": processor.prompt, "pad_to": processor.pad_to, **options.settings}
        asked_of = json.dumps([model.fingerprint, question], sort_keys=True)
        file = self.directory / f"{hashlib.sha256(asked_of.encode()).hexdigest()}.jsonl"
        kept = _read(file)
        bar = tqdm(sources, "comparing", unit="clip", leave=False, disable=not progress, dynamic_ncols=True)
        contents = [content_of(source) for source in bar]
        answers = [
            _kept_answer(kept, content, source, words) or _missing_file(content, source)
            for content, source in zip(contents, sources, strict=True)
        ]
        asked = [source for source, answer in zip(sources, answers, strict=True) if answer is None]
        self.found += len(sources) - len(asked)
        given: Iterator[Recognition] = iter(())
        if asked:
            given = recognize(model.load(), processor, asked, words, options)
        with closing(_Lines(file)) as lines:
            for content, answer in zip(contents, answers, strict=True):
                if answer is None:
                    answer = next(given)
                    self.given += 1
                    if content is not None and not self._full:
                        self._keep(lines, _entry(content, answer, words))
                yield replace(answer, unlearned_labels=unlearned) if unlearned else answer

    def _keep(self, lines: "_Lines", entry: Mapping[str, Any]) -> None:
        """Adds a line; after the first that cannot be added no other is tried."""
        try:
            lines.append(entry)
        except OSError as error:
            self._full = True
            told = f"{lines.path}: cannot be written ({error.strerror}), so answers are not kept"
            tqdm.write(f"{told}; make room, or give another --cache_dir", file=sys.stderr)


def _path(source: Any) -> str:
    path = source.get("path") if isinstance(source, Mapping) else source
    return str(path) if isinstance(path, (str, PathLike)) else ""


def _missing_file(content: str | None, source: Any) -> Recognition | None:
    """What there is to say of a file that cannot be read, for which no model need be loaded."""
    if content is not None or not _path(source):
        return None
    error = load_clip(source).error
    return None if error is None else Recognition(source, None, error=error)


def _entry(content: str, answer: Recognition, words: Sequence[str]) -> dict[str, Any]:
    scores = None if answer.scores is None else [answer.scores[word] for word in words]
    entry = {"clip": content, "label": answer.label, "scores": scores, "text": answer.text, "seconds": answer.seconds}
    if answer.bandwidth_hz is not None:
        entry["bandwidth_hz"] = answer.bandwidth_hz
    if answer.error is not None:
        # An error names the file, so it is not that of the same sound in another.
        entry |= {"error": answer.error, "path": _path(answer.source)}
    return entry


def _kept_answer(
    kept: Mapping[tuple[str, str | None], Mapping[str, Any]], content: str | None, source: Any, words: Sequence[str]
) -> Recognition | None:
    entry = kept.get((str(content), None)) or kept.get((str(content), _path(source)))
    if entry is None:
        return None
    scores = None if entry["scores"] is None else dict(zip(words, entry["scores"], strict=True))
    known = {"error": entry.get("error"), "text": entry["text"], "seconds": entry["seconds"]}
    return Recognition(source, entry["label"], scores, bandwidth_hz=entry.get("bandwidth_hz"), **known)


def _read(file: Path) -> dict[tuple[str, str | None], dict[str, Any]]:
    """The whole lines of a file, by clip and, for errors, its path."""
    entries = {}
    if file.is_file():
        for line in file.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                entries[entry["clip"], entry.get("path")] = entry
            except (ValueError, TypeError, KeyError):
                continue
    return entries


class _Lines:
    """A file that lines are added to; it is opened for the first."""

    def __init__(self, path: Path):
        self.path = path
        self.descriptor: int | None = None

    def append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        if self.descriptor is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            # What a killed process left behind must not swallow this line.
            line = b"\n" + line
        # One write a line, so that two processes do not write into one another's.
        if os.write(self.descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        if self.descriptor is not None:
            try:
                os.close(self.descriptor)
            except OSError:  # a quota that a file server tells late; what it did not keep is asked anew
                pass
