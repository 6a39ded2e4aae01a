# SPDX-License-Identifier: Apache-2.0
"""Batches of labelled clips and batches of others, for a training that learns from both."""

from collections.abc import Hashable, Iterator, Sequence

import torch
from torch.utils.data import Sampler

from mser_llm.training.samplers import Turns, random_view


class SourceBatches(Sampler[int]):
    """
    Batches that are each of one source, drawn at random: clips whose emotion is known, or clips without, so that the
    larger source does not crowd out the other.

    It is one reading of Gong et al. 2025, "Learning More with Less", Sec. 2.3, "we sample randomly from each data
    source at each training step"; the other is a batch of both.

    Within the labelled source emotions take turns, within the other languages do.

    Args:
        emotions: of each clip, `None` where it is not known.
        languages: of each clip.
        batch_size: of a batch, that of all processes together.
        batches: of an epoch; by default as many as hold each clip once on average.
        views: of each clip.
        first_view: the first view that is drawn; 1 leaves the clip itself out.
        seed: of the first epoch; the epoch's number is added to it, so that an epoch can be repeated exactly.

    Raises:
        ValueError: there is one source alone.
    """

    def __init__(
        self,
        emotions: Sequence[str | None],
        languages: Sequence[Hashable],
        batch_size: int,
        batches: int | None = None,
        views: int = 1,
        first_view: int = 0,
        seed: int = 0,
    ):
        labelled: dict[Hashable, list[int]] = {}
        others: dict[Hashable, list[int]] = {}
        for index, (emotion, language) in enumerate(zip(emotions, languages, strict=True)):
            cells, cell = (others, language) if emotion is None else (labelled, emotion)
            cells.setdefault(cell, []).append(index)
        if not (labelled and others):
            raise ValueError(
                "balance source draws clips with and clips without a known emotion, and all "
                f"{len(emotions)} clips are {'without' if others else 'with'} one; add corpora and "
                "name in labelled_languages those whose emotions are used (en), or give balance emotion"
            )
        self.sources = [list(labelled.values()), list(others.values())]
        self.batch_size = batch_size
        self.batches = max(1, len(emotions) // batch_size) if batches is None else batches
        self.views, self.first_view = views, first_view
        self.seed, self.epoch = seed, 0

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        sources = [Turns([Turns(cell, generator) for cell in cells], generator) for cells in self.sources]
        for _ in range(self.batches):
            source = sources[int(torch.randint(2, (), generator=generator))]
            for _ in range(self.batch_size):
                yield random_view(next(next(source)), self.views, self.first_view, generator)
