# SPDX-License-Identifier: Apache-2.0
"""Samplers: which clips an epoch draws, and in which order."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from mser_llm.io.errors import InputError
from mser_llm.training.data.dataset import EmotionDataset
from mser_llm.training.training_arguments import MSERTrainingArguments


class EpochSampler(Sampler[int], ABC):
    """
    Sampler whose order depends on its seed and on the epoch.

    Args:
        size: items per epoch.
        views: number of views per clip.
        first_view: first view that may be drawn; 1 excludes the original clip.
        seed: seed of the first epoch; the epoch number is added to it.
    """

    def __init__(self, size: int, views: int = 1, first_view: int = 0, seed: int = 0):
        self.size, self.views, self.first_view = size, views, first_view
        self.seed, self.epoch = seed, 0

    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return self.draw(torch.Generator().manual_seed(self.seed + self.epoch))

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Iterator[int]:
        """Yield the items of an epoch, as indices of an `EmotionDataset`."""

    def random_view(self, clip: int, generator: torch.Generator) -> int:
        choice = self.views - self.first_view
        view = self.first_view + (int(torch.randint(choice, (), generator=generator)) if choice > 1 else 0)
        return clip * self.views + view


class Turns(Iterator[Any]):
    """Yield all members in rounds, each in a new random order."""

    def __init__(self, members: Iterable[Any], generator: torch.Generator):
        self.members, self.generator = list(members), generator
        self.order: list[int] = []

    def __next__(self) -> Any:
        if not self.order:
            self.order = torch.randperm(len(self.members), generator=self.generator).tolist()
        return self.members[self.order.pop()]


class BalancedSampler(EpochSampler):
    """
    Sampler that alternates between emotions and, within an emotion, between groups (languages).

    In any range of the order, and so in any batch, the counts of two emotions differ by at most two. The same applies
    to two groups within an emotion, so that positive pairs cross languages. Clips of a rare emotion are repeated
    equally often.

    Without groups, only emotions are balanced. By default, an epoch has as many items as clips.
    """

    def __init__(
        self,
        emotions: Sequence[Hashable],
        groups: Sequence[Hashable] | None = None,
        size: int | None = None,
        **options: int,
    ):
        super().__init__(len(emotions) if size is None else size, **options)
        groups = [None] * len(emotions) if groups is None else groups
        self.cells: dict[Hashable, dict[Hashable, list[int]]] = {}
        for index, (emotion, group) in enumerate(zip(emotions, groups, strict=True)):
            self.cells.setdefault(emotion, {}).setdefault(group, []).append(index)

    def draw(self, generator: torch.Generator) -> Iterator[int]:
        turns = [Turns((Turns(own, generator) for own in cells.values()), generator) for cells in self.cells.values()]
        emotions = Turns(turns, generator)
        for _ in range(self.size):
            yield self.random_view(next(next(next(emotions))), generator)


class SourceBatchSampler(EpochSampler):
    """
    Sampler of batches that are either all labelled or all unlabelled, chosen at random.

    Both are equally probable, so that the larger source does not dominate. This is one reading of Gong et al. 2025,
    "Learning More with Less", Sec. 2.3: "we sample randomly from each data source at each training step". The other
    reading is a batch of both sources.

    Labelled batches are balanced over emotions, unlabelled batches over languages.

    Args:
        emotions, languages: of each clip; an emotion is `None` if unknown.
        batch_size: clips per batch over all processes.
        batches: batches per epoch; by default enough to draw each clip once on average.

    Raises:
        InputError: all clips are labelled, or none is.
    """

    def __init__(
        self,
        emotions: Sequence[str | None],
        languages: Sequence[Hashable],
        batch_size: int,
        batches: int | None = None,
        **options: int,
    ):
        labelled: dict[Hashable, list[int]] = {}
        others: dict[Hashable, list[int]] = {}
        for index, (emotion, language) in enumerate(zip(emotions, languages, strict=True)):
            cells, cell = (others, language) if emotion is None else (labelled, emotion)
            cells.setdefault(cell, []).append(index)
        if not (labelled and others):
            raise InputError(
                "balance source",
                f"needs clips with and without a known emotion, and all {len(emotions)} clips are "
                f"{'without' if others else 'with'} one",
                "add corpora and list the languages whose emotions are used in labelled_languages (such as en), or "
                "pass balance emotion",
            )
        self.sources, self.batch_size = (labelled, others), batch_size
        super().__init__(batch_size * (max(1, len(emotions) // batch_size) if batches is None else batches), **options)

    def draw(self, generator: torch.Generator) -> Iterator[int]:
        sources = [Turns((Turns(own, generator) for own in cells.values()), generator) for cells in self.sources]
        for _ in range(self.size // self.batch_size):
            source = sources[int(torch.randint(2, (), generator=generator))]
            for _ in range(self.batch_size):
                yield self.random_view(next(next(source)), generator)


class SpeakerBatchSampler(EpochSampler):
    """
    Sampler that draws P speakers x K utterances per batch, for speaker-contrastive training.

    Speakers and clips are drawn without replacement within a batch (Gong et al. 2025, "Learning More with Less",
    Sec. 2.2). If clips have views, each clip is drawn twice: unchanged, and as a random augmented view. The trainer
    masks the view only.

    Args:
        speakers: speaker of each clip. Clips of unknown speakers and speakers with too few clips are not drawn.
        speakers_per_batch, clips_per_speaker: P and K, per batch over all processes.
        batches: batches per epoch; by default enough to draw each clip once on average.

    Raises:
        InputError: too few speakers have enough clips.
    """

    def __init__(
        self,
        speakers: Sequence[str | None],
        speakers_per_batch: int = 16,
        clips_per_speaker: int = 4,
        batches: int | None = None,
        **options: int,
    ):
        clips: dict[str, list[int]] = {}
        for index, speaker in enumerate(speakers):
            if speaker is not None:
                clips.setdefault(speaker, []).append(index)
        self.clips = [own for own in clips.values() if len(own) >= clips_per_speaker]
        if len(self.clips) < speakers_per_batch or speakers_per_batch < 2:
            raise InputError(
                f"speakers_per_batch {speakers_per_batch}, clips_per_speaker {clips_per_speaker}",
                f"{len(self.clips)} of the {len(clips)} speakers have {clips_per_speaker} clips or more",
                f"pass speakers_per_batch from 2 to {len(self.clips)}, or a lower clips_per_speaker",
            )
        self.speakers_per_batch, self.clips_per_speaker = speakers_per_batch, clips_per_speaker
        drawn = speakers_per_batch * clips_per_speaker
        self.batch_size = drawn * min(options.get("views", 1), 2)
        batches = max(1, sum(map(len, self.clips)) // drawn) if batches is None else batches
        super().__init__(batches * self.batch_size, **options)

    def draw(self, generator: torch.Generator) -> Iterator[int]:
        for _ in range(self.size // self.batch_size):
            for speaker in torch.randperm(len(self.clips), generator=generator)[: self.speakers_per_batch].tolist():
                own = self.clips[speaker]
                for place in torch.randperm(len(own), generator=generator)[: self.clips_per_speaker].tolist():
                    yield own[place] * self.views
                    if self.views > 1:
                        yield own[place] * self.views + int(torch.randint(1, self.views, (), generator=generator))


def build_sampler(dataset: EmotionDataset, arguments: MSERTrainingArguments) -> Sampler[int] | None:
    """
    Build the sampler that `balance` names; `None` for the shuffling sampler of transformers.

    Raises:
        InputError: the settings do not fit the clips, their views or the batch size.
    """
    if arguments.balance == "none":
        if arguments.epoch_batches is not None or not arguments.clean_views:
            raise InputError(
                "epoch_batches, clean_views",
                "have no effect with balance none",
                "pass another balance, or leave them out",
            )
        return None
    if not arguments.clean_views and dataset.views < 2:
        raise InputError("clean_views false", "there are no augmented views to train on", "pass views 2 or more")
    seed = arguments.data_seed if arguments.data_seed is not None else arguments.seed
    batch = arguments.train_batch_size * arguments.world_size
    clips, batches = dataset.clips, arguments.epoch_batches
    options = {"views": dataset.views, "seed": seed}
    if arguments.balance == "speaker":
        people, each = arguments.speakers_per_batch, arguments.clips_per_speaker
        order = SpeakerBatchSampler([clip.row["speaker"] for clip in clips], people, each, batches, **options)
        if order.batch_size != batch:
            raise InputError(
                f"per_device_train_batch_size {arguments.train_batch_size}",
                f"{people} speakers x {each} clips{' x 2 views' if dataset.views > 1 else ''} are a batch of "
                f"{order.batch_size}, and the batch of all processes is {batch}",
                f"pass per_device_train_batch_size {order.batch_size // arguments.world_size}",
            )
        return order
    emotions, languages = [clip.emotion for clip in clips], [clip.row["language"] for clip in clips]
    options["first_view"] = 0 if arguments.clean_views else 1
    if arguments.balance == "source":
        return SourceBatchSampler(emotions, languages, batch, batches, **options)
    groups = languages if arguments.balance == "emotion_language" else None
    return BalancedSampler(emotions, groups, None if batches is None else batches * batch, **options)
