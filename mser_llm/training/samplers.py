# SPDX-License-Identifier: Apache-2.0
"""The order of an epoch: batches in which every emotion, and every language within it, has its share."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler


class BalancedSampler(Sampler[int]):
    """
    An epoch's order in which emotions take turns and, within an emotion, groups (languages) take turns.

    In any stretch of the order, and so in any batch cut out of it by however many processes, the counts of two
    emotions differ by at most two, and so do those of two groups within an emotion: pairs of one emotion cross
    languages. An epoch has as many items as there are clips; a rare class repeats its clips, each as often as any
    other of its own.

    Args:
        emotions: of each clip.
        groups: of each clip, its language say; `None` for no second level.
        views: of each clip; each time a clip is drawn one of its views is.
        seed: of the first epoch; the epoch's number is added to it, so that an epoch can be repeated exactly.
        size: items of an epoch; by default as many as there are clips.
        first_view: the first view that is drawn; 1 leaves the clip itself out.
    """

    def __init__(
        self,
        emotions: Sequence[Hashable],
        groups: Sequence[Hashable] | None = None,
        views: int = 1,
        seed: int = 0,
        size: int | None = None,
        first_view: int = 0,
    ):
        groups = [None] * len(emotions) if groups is None else groups
        self.cells: dict[Hashable, dict[Hashable, list[int]]] = {}
        for index, (emotion, group) in enumerate(zip(emotions, groups, strict=True)):
            self.cells.setdefault(emotion, {}).setdefault(group, []).append(index)
        self.size = len(emotions) if size is None else size
        self.views, self.first_view, self.seed, self.epoch = views, first_view, seed, 0

    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        turns = {
            emotion: Turns([Turns(indices, generator) for indices in cells.values()], generator)
            for emotion, cells in self.cells.items()
        }
        emotions = Turns(list(turns.values()), generator)
        for _ in range(self.size):
            yield random_view(next(next(next(emotions))), self.views, self.first_view, generator)


def random_view(clip: int, views: int, first_view: int, generator: torch.Generator) -> int:
    """The item of `EmotionDataset` that is a random view of a clip, from `first_view` on."""
    choice = views - first_view
    view = first_view + (int(torch.randint(choice, (), generator=generator)) if choice > 1 else 0)
    return clip * views + view


class Turns(Iterator[Any]):
    """Members in rounds, each round in a new random order."""

    def __init__(self, members: list[Any], generator: torch.Generator):
        self.members, self.generator = members, generator
        self.order: list[int] = []

    def __next__(self) -> Any:
        if not self.order:
            self.order = torch.randperm(len(self.members), generator=self.generator).tolist()
        return self.members[self.order.pop()]
