# SPDX-License-Identifier: Apache-2.0
"""Batches of several clips by each of several speakers, for a contrast between voices."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler


class SpeakerBatches(Sampler[int]):
    """
    Batches of `speakers_per_batch` random speakers with `clips_per_speaker` clips each, drawn without replacement
    within the batch (Gong et al. 2025, "Learning More with Less", Sec. 2.2), one batch after another in one order.

    Where clips have views, each clip comes twice: as it is, and as one of its augmented views, on which alone the
    trainer's masks fall.

    Args:
        speakers: of each clip; a clip without one is not drawn, nor is a speaker with too few clips.
        speakers_per_batch, clips_per_speaker: of a batch, that of all processes together.
        views: of each clip, itself included.
        batches: of an epoch; by default as many as show each clip once on average.
        seed: of the first epoch; the epoch's number is added to it, so that an epoch can be repeated exactly.

    Raises:
        ValueError: too few speakers have enough clips.
    """

    def __init__(
        self,
        speakers: Sequence[str | None],
        speakers_per_batch: int = 16,
        clips_per_speaker: int = 4,
        views: int = 1,
        batches: int | None = None,
        seed: int = 0,
    ):
        clips: dict[str, list[int]] = {}
        for index, speaker in enumerate(speakers):
            if speaker is not None:
                clips.setdefault(speaker, []).append(index)
        self.clips = [own for own in clips.values() if len(own) >= clips_per_speaker]
        if len(self.clips) < speakers_per_batch or speakers_per_batch < 2:
            raise ValueError(
                f"a batch is to hold {speakers_per_batch} speakers with {clips_per_speaker} clips each, and "
                f"{len(self.clips)} of the {len(clips)} speakers have as many clips; "
                "give speakers_per_batch and clips_per_speaker that fit, two speakers at least"
            )
        self.speakers_per_batch, self.clips_per_speaker, self.views = speakers_per_batch, clips_per_speaker, views
        drawn = speakers_per_batch * clips_per_speaker
        self.batch_size = drawn * min(views, 2)
        self.batches = max(1, sum(map(len, self.clips)) // drawn) if batches is None else batches
        self.seed, self.epoch = seed, 0

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        for _ in range(self.batches):
            for speaker in torch.randperm(len(self.clips), generator=generator)[: self.speakers_per_batch].tolist():
                own = self.clips[speaker]
                for place in torch.randperm(len(own), generator=generator)[: self.clips_per_speaker].tolist():
                    yield own[place] * self.views
                    if self.views > 1:
                        yield own[place] * self.views + int(torch.randint(1, self.views, (), generator=generator))
