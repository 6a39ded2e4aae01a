# SPDX-License-Identifier: Apache-2.0
"""Encode each clip once and keep its features on disk, by the content of the clip and the settings of the encoder."""

import inspect
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load, save
from tqdm.auto import tqdm

from modeling_mser import EmotionClassifier, MSERForEmotionGeneration
from mser_llm.data.clips import Clip, Rejection
from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.io.hashing import digest
from mser_llm.io.store import Store
from processing_mser import AudioError, EmotionClassifierProcessor, MSERProcessor, load_audio
from processing_mser.augmentation_mser import WaveformAugmenter


ENCODING_BATCH = 16
_MAKE_ROOM = "free space, or pass another --cache_dir or a smaller --cache_gb"


class WaveformEncoder(Protocol):
    """The interface of an encoder for `ClipFeatures`."""

    processor: MSERProcessor | EmotionClassifierProcessor

    @property
    def bytes_per_second(self) -> float: ...

    def fingerprint(self) -> str: ...

    def __call__(self, waveforms: list[np.ndarray]) -> list[torch.Tensor]: ...


class FeatureEncoder:
    """
    Encode waveforms to the features that training reads, in half precision.

    - If the encoder or its lower layers are frozen: the states of `encode_audio`,
      `(num_layers, num_frames, hidden_size)` at 50 frames/s.
    - If the encoder is trained, so that its output changes: the log-mel spectrogram `(num_mel_bins, num_frames)` at
      100 frames/s.

    Args:
        model: the model with the encoder.
        processor: the processor with the feature extractor.
    """

    def __init__(
        self,
        model: MSERForEmotionGeneration | EmotionClassifier,
        processor: MSERProcessor | EmotionClassifierProcessor,
    ):
        self.model, self.processor = model, processor
        self.encodes = model.frozen_encoder() is not None

    @torch.inference_mode()
    def __call__(self, waveforms: list[np.ndarray]) -> list[torch.Tensor]:
        """Return the features of mono waveforms `(num_samples,)` at the processor's rate, in the same order."""
        inputs = self.processor.extract_features(waveforms)
        features, mask = inputs["input_features"], inputs["input_features_mask"]
        if self.encodes:
            device = self.model.device
            features, mask = self.model.encode_audio(features.to(device), mask.to(device))
            assert mask is not None, "a mask was given"
        clips = zip(features.cpu(), mask.sum(-1).tolist(), strict=True)
        return [clip[:, :length].to(torch.float16).contiguous() for clip, length in clips]

    @property
    def bytes_per_second(self) -> float:
        """Size of the features per second of audio."""
        encoder: Any = self.model.config.audio_config
        if self.encodes:
            return 50 * len(self.model.config.used_encoder_layers) * encoder.hidden_size * 2
        return 100 * encoder.num_mel_bins * 2

    def fingerprint(self) -> str:
        """Return the hash of what features depend on apart from the clip: weights, layers, extraction, padding."""
        frozen = self.model.frozen_encoder()
        settings = {
            "extractor": _extraction_settings(self.processor.feature_extractor),
            "pad_to": self.processor.pad_to,
            "layers": None if frozen is None else frozen[0],
            "crop_seconds": getattr(self.processor, "crop_seconds", None),
        }
        weights = {} if frozen is None else frozen[1]
        hashes = {
            name: digest(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
            for name, weight in weights.items()
        }
        return digest(json.dumps(settings, sort_keys=True, default=str), hashes)[:32]


def _extraction_settings(extractor: Any) -> dict[str, Any]:
    """Return a feature extractor's class and arguments; its `to_dict` also records where it was loaded from."""
    names = [*inspect.signature(type(extractor)).parameters, "padding_side"]
    return {"class": type(extractor).__name__} | {
        name: getattr(extractor, name) for name in names if hasattr(extractor, name)
    }


class ClipFeatures:
    """
    Features of clips and of their augmented views, encoded once each.

    Args:
        encoder: encodes batches of waveforms.
        cache_dir: root of all caches on this machine; `~` is expanded.
        cache_gb: maximum size of the features of these clips, in GB; the clips beyond it are encoded at each use.
        augmenter: creates the views with an index above 0; needed only if there are any.
    """

    def __init__(
        self, encoder: WaveformEncoder, cache_dir: str, cache_gb: float, augmenter: WaveformAugmenter | None = None
    ):
        self.encoder, self.augmenter = encoder, augmenter
        self.budget = cache_gb * 1e9
        self.fingerprint = encoder.fingerprint()
        self.store = Store(Path(cache_dir) / self.fingerprint)

    def capacity(self, jobs: Sequence[tuple[Clip, int]]) -> int:
        """Return how many of these clips and views, from the first on, are cached."""
        sizes = itertools.accumulate(clip.seconds * self.encoder.bytes_per_second for clip, _ in jobs)
        return sum(size <= self.budget for size in sizes)

    def prepare(self, jobs: Sequence[tuple[Clip, int]], rank: int = 0, world_size: int = 1) -> list[Rejection]:
        """
        Encode what is not in the cache, and check the other clips.

        The batches, and which process encodes them, depend on the clips alone and not on the content of the cache: the
        composition of a batch changes features in the last digit, a resumed run must equal an uninterrupted one, and
        a process that starts late must not change the shares of the others.

        Args:
            jobs: clips, each with the index of a view; view 0 is the clip itself.
            rank, world_size: this process and the number of processes.

        Returns:
            The clips that this process cannot read.
        """
        cached = list(jobs[: self.capacity(jobs)])
        beyond = [clip for clip, view in jobs[len(cached) :] if view == 0]
        cached.sort(key=lambda job: (job[0].seconds, job[0].key, str(job[1])))
        batches = [cached[start : start + ENCODING_BATCH] for start in range(0, len(cached), ENCODING_BATCH)]
        missing = [
            batch for batch in batches[rank::world_size] if not all(self._key(*job) in self.store for job in batch)
        ]
        if rank == 0:
            total = sum(clip.seconds for clip, _ in cached) * self.encoder.bytes_per_second / 1e9
            print(
                f"Features: {len(cached)} of {len(jobs)} clips and views are cached in {self.store.directory} "
                f"({total:.2f} GB of at most {self.budget / 1e9:g})"
            )
        rejections: list[Rejection] = []

        def read(jobs: Sequence[tuple[Clip, int]]) -> Iterator[tuple[str, np.ndarray]]:
            for clip, view in jobs:
                try:
                    yield self._key(clip, view), self._waveform(clip, view)
                except AudioError as error:
                    rejections.append(Rejection(clip.row, str(error)))

        for batch in tqdm(missing, desc="Encoding", unit="batch", disable=not missing):
            waveforms = list(read(batch))
            encoded = self.encoder([waveform for _, waveform in waveforms]) if waveforms else []
            values = {key: save({"features": tensor}) for (key, _), tensor in zip(waveforms, encoded, strict=True)}
            with explain_disk_full(self.store.directory, _MAKE_ROOM):
                self.store.write({key: value for key, value in values.items() if key not in self.store})
        for clip in tqdm(beyond[rank::world_size], desc="Checking", unit="clip", disable=not beyond):
            list(read([(clip, 0)]))
        return rejections

    def __call__(self, clip: Clip, view: int) -> torch.Tensor:
        content = self.store.get(self._key(clip, view))
        return self.encoder([self._waveform(clip, view)])[0] if content is None else load(content)["features"]

    def _key(self, clip: Clip, view: int) -> str:
        """Return the key of a view in the store; that of view 0 does not depend on the augmentation."""
        return digest(clip.key if view == 0 else f"{clip.key}-{self._views.name}-{view}")

    def _waveform(self, clip: Clip, view: int) -> np.ndarray:
        processor = self.encoder.processor
        audio = clip.row["audio"]
        source = audio["path"] if audio["bytes"] is None else audio
        waveform = load_audio(source, processor.sampling_rate, max_seconds=processor.max_seconds)
        return waveform if view == 0 else self._views.view(waveform, clip.key, view, processor.sampling_rate)

    @property
    def _views(self) -> WaveformAugmenter:
        assert self.augmenter is not None, "views need an augmenter"
        return self.augmenter
