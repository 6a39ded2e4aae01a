# SPDX-License-Identifier: Apache-2.0
"""Cache the predictions of a model, so that repeating an unchanged evaluation neither runs nor loads it."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
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
from mser_llm.io.hashing import digest
from mser_llm.io.store import Store


class PredictionCache:
    """
    Predictions by the content of the clip, in one [`Store`] per model and settings.

    A prediction is reused only if everything that it depends on is the same: the bytes of the clip; the weights,
    configuration, backbones, libraries and kind of device of the model (`DeferredModel.fingerprint`); the candidate
    labels in their order, the text of the prompt, `decode`, `pad_to`, `length_normalize` and `prior_correction`. On a
    full disk, one warning is printed, and nothing more is cached.

    Args:
        directory: created when the first prediction is cached. Several processes may use it at once.

    Attributes:
        found: number of cached predictions that were used.
        given: number of predictions that the model made.
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
        Yield what `mser_llm.inference.recognition.recognize` does; the model runs only on clips that are not cached.

        Args:
            model: loaded only if a clip is not cached.
            processor, words, options: as for `recognize`.
            sources: as for `recognize`, but a sequence. Only paths, bytes and `{"bytes", "path"}` are cached.
            progress: show a bar while the clips are hashed.
        """
        unlearned = check_labels(model.config, words, options.allow_unlearned_labels)  # also for cached predictions
        settings = {"words": list(words), "prompt": processor.prompt, "pad_to": processor.pad_to, **options.settings}
        with Store(self.directory / digest(model.fingerprint, settings)) as store:
            bar = tqdm(sources, "comparing", unit="clip", leave=False, disable=not progress, dynamic_ncols=True)
            contents = [content_of(source) for source in bar]
            cached = [
                _cached(store, content, source, words) or _missing_file(content, source)
                for content, source in zip(contents, sources, strict=True)
            ]
            new = [source for source, prediction in zip(sources, cached, strict=True) if prediction is None]
            self.found += len(sources) - len(new)
            predictions = recognize(model.load(), processor, new, words, options) if new else iter(())
            for content, prediction in zip(contents, cached, strict=True):
                if prediction is None:
                    prediction = next(predictions)
                    self.given += 1
                    if content is not None and not self._full:
                        self._write(store, content, prediction, words)
                yield replace(prediction, unlearned_labels=unlearned) if unlearned else prediction

    def _write(self, store: Store, content: str, prediction: Recognition, words: Sequence[str]) -> None:
        """Cache a prediction; after the first that cannot be written no other is tried."""
        scores = None if prediction.scores is None else [prediction.scores[word] for word in words]
        fields = {name: getattr(prediction, name) for name in ("label", "text", "seconds", "bandwidth_hz", "error")}
        # An error names the file, so it does not apply to another file with the same content.
        path = None if prediction.error is None else _path(prediction.source)
        try:
            store.write({digest(content, path): json.dumps(fields | {"scores": scores}).encode()})
        except OSError as error:
            self._full = True
            problem = f"{error.filename}: cannot be written ({error.strerror}), so predictions are not cached"
            tqdm.write(f"{problem}; free space, or pass another --cache_dir", file=sys.stderr)


def _cached(store: Store, content: str | None, source: Any, words: Sequence[str]) -> Recognition | None:
    if content is None:
        return None
    value = store.get(digest(content, None)) or store.get(digest(content, _path(source)))
    if value is None:
        return None
    fields = json.loads(value)
    scores = fields.pop("scores")
    return Recognition(source, scores=None if scores is None else dict(zip(words, scores, strict=True)), **fields)


def _path(source: Any) -> str:
    path = source.get("path") if isinstance(source, Mapping) else source
    return str(path) if isinstance(path, (str, PathLike)) else ""


def _missing_file(content: str | None, source: Any) -> Recognition | None:
    """Return the error of a file that cannot be read; it needs no model."""
    if content is not None or not _path(source):
        return None
    error = load_clip(source).error
    return None if error is None else Recognition(source, None, error=error)
