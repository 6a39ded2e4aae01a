# SPDX-License-Identifier: Apache-2.0
"""Keep predictions on disk, so that an unchanged evaluation neither runs the model again nor loads it."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from tqdm.auto import tqdm

from modeling_mser.labels_mser import check_labels
from mser_llm.inference.clip_digests import clip_path, clip_sha256
from mser_llm.inference.deferred_model import DeferredModel
from mser_llm.inference.prefetch import load_clip
from mser_llm.inference.recognition import Recognition, recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.io.hashing import digest
from mser_llm.io.store import Store


class PredictionCache:
    """
    Predictions by everything that they depend on.

    That is: the content of the clip's file; the model (`DeferredModel.fingerprint`); the labels in their order, the
    text of the prompt, `pad_to` and `ScoringOptions.settings`. If predictions cannot be written, as on a full disk,
    one warning is printed and the rest is computed all the same.

    Args:
        directory: created when there is something to keep; several processes may use it at once.

    Attributes:
        found: number of predictions that were found here.
        computed: number of predictions that the model computed.
    """

    def __init__(self, directory: str | PathLike):
        self.store = Store(directory)
        self.found = self.computed = 0
        self._writable = True

    def recognize(
        self,
        model: DeferredModel,
        processor: Any,
        sources: Sequence[Any],
        labels: Sequence[str],
        options: ScoringOptions = ScoringOptions(),
        progress: bool = False,
    ) -> Iterator[Recognition]:
        """
        Predict clips as `mser_llm.inference.recognition.recognize` does, computing only what is not in the cache.

        Args:
            model: loaded if a prediction is missing.
            processor, labels, options: as there.
            sources: as there, but a sequence. Forms other than a path, bytes and `{"bytes", "path"}` are not cached.
            progress: show a bar while the files are hashed.
        """
        unlearned = check_labels(model.config, labels, options.allow_unlearned_labels)  # for cached predictions, too
        settings = {"labels": list(labels), "prompt": processor.prompt, "pad_to": processor.pad_to, **options.settings}
        question = digest(model.fingerprint, settings)
        self.store.refresh()
        bar = tqdm(sources, "comparing", unit="clip", leave=False, disable=not progress, dynamic_ncols=True)
        hashes = [clip_sha256(source) for source in bar]
        results = [
            self._find(question, clip, source, labels) or _missing_file(clip, source)
            for clip, source in zip(hashes, sources, strict=True)
        ]
        pending = [source for source, result in zip(sources, results, strict=True) if result is None]
        self.found += len(sources) - len(pending)
        computed = recognize(model.load(), processor, pending, labels, options) if pending else iter(())
        with self.store:
            for clip, result in zip(hashes, results, strict=True):
                if result is None:
                    result = next(computed)
                    self.computed += 1
                    self._keep(question, clip, result, labels)
                yield replace(result, unlearned_labels=unlearned) if unlearned else result

    def _find(self, question: str, clip: str | None, source: Any, labels: Sequence[str]) -> Recognition | None:
        if clip is None:
            return None
        # An error names the file, so its key has the path.
        content = self.store.get(digest(question, clip)) or self.store.get(digest(question, clip, clip_path(source)))
        if content is None:
            return None
        entry = json.loads(content)
        scores = None if entry["scores"] is None else dict(zip(labels, entry["scores"], strict=True))
        return Recognition(source, **entry | {"scores": scores})

    def _keep(self, question: str, clip: str | None, result: Recognition, labels: Sequence[str]) -> None:
        """Write a prediction; after the first failure no other is tried."""
        if clip is None or not self._writable:
            return
        entry = {name: getattr(result, name) for name in ("label", "error", "text", "seconds", "bandwidth_hz")}
        entry["scores"] = None if result.scores is None else [result.scores[label] for label in labels]
        key = digest(question, clip) if result.error is None else digest(question, clip, clip_path(result.source))
        try:
            self.store.write({key: json.dumps(entry).encode()})
        except OSError as error:
            self._writable = False
            tqdm.write(
                f"warning: {error.filename or self.store.directory}: predictions cannot be cached ({error.strerror}); "
                "free space, or pass another --cache_dir",
                file=sys.stderr,
            )


def _missing_file(clip: str | None, source: Any) -> Recognition | None:
    """Return the error of a file that cannot be read; the model is not needed for it."""
    if clip is not None or not clip_path(source):
        return None
    error = load_clip(source).error
    return None if error is None else Recognition(source, None, error=error)
