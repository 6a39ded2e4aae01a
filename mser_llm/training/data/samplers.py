# SPDX-License-Identifier: Apache-2.0
"""Samplers: which clips an epoch draws, and in which order."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from mser_llm.io.errors import InputError
from mser_llm.training.data.dataset import EmotionDataset
from mser_llm.training.training_arguments import MSERTrainingArguments


class BalancedSampler(Sampler[int]):
    """
    Sampler that alternates between emotions and, within an emotion, between groups (languages).

    In any range of the order, and so in any batch, the counts of two emotions differ by at most two. The same applies
    to two groups within an emotion, so that positive pairs cross languages. Clips of a rare emotion are repeated
    equally often.

    Args:
        emotions: emotion of each clip.
        groups: group of each clip, e.g. its language; `None` balances emotions only.
        views: number of views per clip; one of them is drawn at random.
        seed: seed of the first epoch; the epoch number is added to it.
        size: items per epoch; by default the number of clips.
        first_view: first view that may be drawn; 1 excludes the original clip.
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
    """Return the `EmotionDataset` index of a random view of a clip, from `first_view` on."""
    choice = views - first_view
    view = first_view + (int(torch.randint(choice, (), generator=generator)) if choice > 1 else 0)
    return clip * views + view


class Turns(Iterator[Any]):
    """Yield all members in rounds, each in a new random order."""

    def __init__(self, members: list[Any], generator: torch.Generator):
        self.members, self.generator = members, generator
        self.order: list[int] = []

    def __next__(self) -> Any:
        if not self.order:
            self.order = torch.randperm(len(self.members), generator=self.generator).tolist()
        return self.members[self.order.pop()]


class SourceBatchSampler(Sampler[int]):
    """
    Sampler of batches that are either all labelled or all unlabelled, chosen at random.

    Both are equally probable, so that the larger source does not dominate. This is one reading of Gong et al. 2025,
    "Learning More with Less", Sec. 2.3: "we sample randomly from each data source at each training step". The other
    reading is a batch of both sources.

    Labelled batches are balanced over emotions, unlabelled batches over languages.

    Args:
        emotions: emotion of each clip, `None` if unknown.
        languages: language of each clip.
        batch_size: clips per batch over all processes.
        batches: batches per epoch; by default enough to draw each clip once on average.
        views: number of views per clip.
        first_view: first view that may be drawn; 1 excludes the original clip.
        seed: seed of the first epoch; the epoch number is added to it.

    Raises:
        InputError: all clips are labelled, or none is.
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
            raise InputError(
                "balance source",
                f"needs clips with and without a known emotion, and all {len(emotions)} clips are "
                f"{'without' if others else 'with'} one",
                "add corpora and list the languages whose emotions are used in labelled_languages (such as en), or "
                "pass balance emotion",
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


class SpeakerBatchSampler(Sampler[int]):
    """
    Sampler that draws P speakers x K utterances per batch, for speaker-contrastive training.

    Speakers and clips are drawn without replacement within a batch (Gong et al. 2025, "Learning More with Less",
    Sec. 2.2). If clips have views, each clip is drawn twice: unchanged, and as a random augmented view. The trainer
    masks the view only.

    Args:
        speakers: speaker of each clip. Clips of unknown speakers and speakers with too few clips are not drawn.
        speakers_per_batch, clips_per_speaker: P and K, per batch over all processes.
        views: number of views per clip, the original included.
        batches: batches per epoch; by default enough to draw each clip once on average.
        seed: seed of the first epoch; the epoch number is added to it.

    Raises:
        InputError: too few speakers have enough clips.
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
            raise InputError(
                f"speakers_per_batch {speakers_per_batch}, clips_per_speaker {clips_per_speaker}",
                f"{len(self.clips)} of the {len(clips)} speakers have {clips_per_speaker} clips or more",
                f"pass speakers_per_batch from 2 to {len(self.clips)}, or a lower clips_per_speaker",
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
    if arguments.balance == "speaker":
        order = SpeakerBatchSampler(
            [clip.row["speaker"] for clip in dataset.clips],
            arguments.speakers_per_batch,
            arguments.clips_per_speaker,
            views=dataset.views,
            batches=arguments.epoch_batches,
            seed=seed,
        )
        if order.batch_size != batch:
            each = f"{arguments.speakers_per_batch} speakers x {arguments.clips_per_speaker} clips"
            raise InputError(
                f"per_device_train_batch_size {arguments.train_batch_size}",
                f"{each}{' x 2 views' if dataset.views > 1 else ''} are a batch of {order.batch_size}, and the batch "
                f"of all processes is {batch}",
                f"pass per_device_train_batch_size {order.batch_size // arguments.world_size}",
            )
        return order
    emotions = [clip.emotion for clip in dataset.clips]
    languages = [clip.row["language"] for clip in dataset.clips]
    first_view = 0 if arguments.clean_views else 1
    if arguments.balance == "source":
        return SourceBatchSampler(
            emotions, languages, batch, arguments.epoch_batches, dataset.views, first_view=first_view, seed=seed
        )
    return BalancedSampler(
        emotions,
        languages if arguments.balance == "emotion_language" else None,
        views=dataset.views,
        seed=seed,
        size=None if arguments.epoch_batches is None else arguments.epoch_batches * batch,
        first_view=first_view,
    )
