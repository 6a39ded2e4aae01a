# SPDX-License-Identifier: Apache-2.0
"""Emotion embeddings of test clips, computed once per model and clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.inference.loading import load_model
from mser_llm.inference.prefetch import load_ahead, windows_of
from mser_llm.io.hashing import digest, file_sha256
from mser_llm.io.store import Store


BATCH_SIZE = 16


@dataclass(frozen=True)
class Embeddings:
    """
    Emotion embeddings with their clips.

    Attributes:
        values: `(num_clips, hidden_size)`, the mean of the query outputs; that of a clip over 30 s is the mean of its
            windows, weighted by duration.
        clips: the readable ones.
    """

    values: np.ndarray
    clips: LabeledClips

    @property
    def emotions(self) -> np.ndarray:
        """`(num_clips,)` emotions."""
        return np.array(self.clips.truths)

    @property
    def languages(self) -> np.ndarray:
        """`(num_clips,)` ISO 639-1 codes; empty if unknown."""
        return np.array([row["language"] or "" for row in self.clips.rows])


def model_embeddings(folder: Path, clips: LabeledClips, cache_dir: Path, device: str = "auto") -> Embeddings:
    """Compute the embeddings of a trained model, or read them from the cache if weights and clips are the same."""
    key = digest(file_sha256(folder / "model.safetensors"), clips.fingerprint())
    with Store(cache_dir) as store:
        cached = store.get(key)
        if cached is None:
            model, processor = load_model(str(folder), device)
            values = _embed(model, processor, [row["audio"] for row in clips.rows], folder.name)
            store.write({key: values.tobytes()})
        else:
            values = np.frombuffer(cached, np.float32).reshape(len(clips), -1)
    read = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(read):
        raise ValueError(f"none of {len(clips)} clips can be read; check the corpus with run-mser corpora")
    return Embeddings(values[read], clips.subset(read.tolist()))


@torch.inference_mode()
def _embed(model: Any, processor: Any, sources: Sequence[Any], name: str) -> np.ndarray:
    """`(num_sources, hidden_size)` float32, NaN where a source cannot be read."""
    size = model.config.emotion_embedding_size
    found: list[np.ndarray] = []
    with tqdm(total=len(sources), desc=f"embeddings of {name}", unit="clip", dynamic_ncols=True) as bar:
        for window in load_ahead(sources, 4 * BATCH_SIZE):
            sums, lengths = np.zeros((len(window), size)), np.zeros(len(window))
            failures: dict[int, str] = {}
            pieces = windows_of(window, failures)
            while part := list(islice(pieces, 4 * BATCH_SIZE)):
                # Batches of windows of similar length.
                part.sort(key=lambda pair: len(pair[1]))
                for start in range(0, len(part), BATCH_SIZE):
                    batch = part[start : start + BATCH_SIZE]
                    inputs = processor.extract_features([piece for _, piece in batch])
                    audio = model.get_audio_features(**{key: value.to(model.device) for key, value in inputs.items()})
                    for (index, piece), embedding in zip(batch, audio.emotion_embedding.float().cpu().numpy()):
                        sums[index] += len(piece) * embedding
                        lengths[index] += len(piece)
            lengths[list(failures)] = 0
            with np.errstate(invalid="ignore"):
                found.extend(sums / np.where(lengths, lengths, np.nan)[:, None])
            bar.update(len(window))
    return np.stack(found).astype(np.float32)
