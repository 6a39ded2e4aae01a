# SPDX-License-Identifier: Apache-2.0
"""Features of clips: read from the cache, or computed at each use once the cache is full."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tqdm.auto import tqdm

from mser_llm.data.clips import Clip, Rejection
from mser_llm.inference.feature_cache import FeatureCache
from processing_mser import AudioError, EmotionClassifierProcessor, MSERProcessor, load_audio
from processing_mser.augmentation_mser import WaveformAugmenter


ENCODING_BATCH = 16


class WaveformEncoder(Protocol):
    """What `ClipFeatures` asks of an encoder."""

    processor: MSERProcessor | EmotionClassifierProcessor

    @property
    def bytes_per_second(self) -> float: ...

    def fingerprint(self) -> str: ...

    def __call__(self, waveforms: list[np.ndarray]) -> list[torch.Tensor]: ...


class ClipFeatures:
    """
    Features of clips and of their views, encoded once each.

    Args:
        encoder: makes features of waveforms, batch by batch.
        cache_dir: root of all caches on this machine; `~` is expanded.
        cache_gb: bound on what these clips may take, in GB; the clips past it are encoded at each use.
        augmenter: makes the views past the first; needed only where there are any.
    """

    def __init__(
        self, encoder: WaveformEncoder, cache_dir: str, cache_gb: float, augmenter: WaveformAugmenter | None = None
    ):
        self.encoder, self.augmenter = encoder, augmenter
        self.budget = cache_gb * 1e9
        self.fingerprint = encoder.fingerprint()
        self.cache = FeatureCache(Path(cache_dir).expanduser() / self.fingerprint)

    def capacity(self, jobs: Sequence[tuple[Clip, int]]) -> int:
        """How many of these clips and views, from the first on, the cache keeps; the rest is encoded at each use."""
        sizes = itertools.accumulate(clip.seconds * self.encoder.bytes_per_second for clip, _ in jobs)
        return sum(size <= self.budget for size in sizes)

    def prepare(self, jobs: Sequence[tuple[Clip, int]], rank: int = 0, world_size: int = 1) -> list[Rejection]:
        """
        Encodes what is not yet there; a clip that cannot be read in full is rejected.

        The batches are fixed by the clips alone, whatever is there already, because a batch's composition moves
        features in their last digit and an interrupted run shall end as an unbroken one does. Processes share the
        work by the same fixed batches, so that none is left to nobody when one process starts late.

        Args:
            jobs: clips, each with the index of a view; view 0 is the clip itself.
            rank, world_size: this process among all.

        Returns:
            The clips that could not be read, found by this process.
        """
        kept = list(jobs[: self.capacity(jobs)])
        beyond = [clip for clip, view in jobs[len(kept) :] if view == 0]
        kept.sort(key=lambda job: (job[0].seconds, self.name(*job)))
        batches = [kept[start : start + ENCODING_BATCH] for start in range(0, len(kept), ENCODING_BATCH)]
        mine = [
            batch for batch in batches[rank::world_size] if not all(self.name(*job) in self.cache for job in batch)
        ]
        if rank == 0:
            total = sum(clip.seconds for clip, _ in kept) * self.encoder.bytes_per_second / 1e9
            print(
                f"Features: {len(kept)} of {len(jobs)} clips and views are kept in {self.cache.directory} "
                f"({total:.2f} GB of at most {self.budget / 1e9:g})"
            )
        rejections = []
        for batch in tqdm(mine, desc="Encoding", unit="batch", disable=not mine):
            readable, waveforms = [], []
            for clip, view in batch:
                try:
                    waveforms.append(self._waveform(clip, view))
                    readable.append((clip, view))
                except AudioError as error:
                    rejections.append(Rejection(clip.row, str(error)))
            encoded = self.encoder(waveforms) if waveforms else []
            names = [self.name(*job) for job in readable]
            new = {name: value for name, value in zip(names, encoded, strict=True) if name not in self.cache}
            self.cache.write(new)
        for clip in tqdm(beyond[rank::world_size], desc="Checking", unit="clip", disable=not beyond):
            try:
                self._waveform(clip, 0)
            except AudioError as error:
                rejections.append(Rejection(clip.row, str(error)))
        return rejections

    def __call__(self, clip: Clip, view: int) -> torch.Tensor:
        cached = self.cache.get(self.name(clip, view))
        return self.encoder([self._waveform(clip, view)])[0] if cached is None else cached

    def name(self, clip: Clip, view: int) -> str:
        """A view's name in the cache; that of a clip itself does not depend on the augmentation."""
        return clip.key if view == 0 else f"{clip.key}-{self._views.name}-{view}"

    def _waveform(self, clip: Clip, view: int) -> np.ndarray:
        processor = self.encoder.processor
        audio = clip.row["audio"]
        source = audio["path"] if audio["bytes"] is None else audio
        waveform = load_audio(source, processor.sampling_rate, max_seconds=processor.max_seconds)
        return waveform if view == 0 else self._views.view(waveform, clip.key, view, processor.sampling_rate)

    @property
    def _views(self) -> WaveformAugmenter:
        assert self.augmenter is not None, "views were asked for without an augmenter"
        return self.augmenter
