# SPDX-License-Identifier: Apache-2.0
"""From a recipe to the order in which an epoch shows its clips."""

from torch.utils.data import Sampler

from mser_llm.training.dataset import EmotionDataset
from mser_llm.training.samplers import BalancedSampler
from mser_llm.training.source_batches import SourceBatches
from mser_llm.training.speaker_batches import SpeakerBatches
from mser_llm.training.training_arguments import MSERTrainingArguments


def training_order(dataset: EmotionDataset, arguments: MSERTrainingArguments) -> Sampler[int] | None:
    """
    The sampler that `balance` names; `None` for the library's own, which shuffles.

    Raises:
        ValueError: what was asked of it does not fit the clips, their views or the batch size.
    """
    if arguments.balance == "none":
        if arguments.epoch_batches is not None or not arguments.clean_views:
            raise ValueError('epoch_batches and clean_views need batches that are drawn; give a balance but "none"')
        return None
    if not arguments.clean_views and dataset.views < 2:
        raise ValueError("clean_views is false, and there are no others; give views: 2 or more")
    seed = arguments.data_seed if arguments.data_seed is not None else arguments.seed
    batch = arguments.train_batch_size * arguments.world_size
    if arguments.balance == "speaker":
        order = SpeakerBatches(
            [clip.row["speaker"] for clip in dataset.clips],
            arguments.speakers_per_batch,
            arguments.clips_per_speaker,
            views=dataset.views,
            batches=arguments.epoch_batches,
            seed=seed,
        )
        if order.batch_size != batch:
            each = f"{arguments.speakers_per_batch} speakers x {arguments.clips_per_speaker} clips"
            raise ValueError(
                f"{each}{' x 2 views' if dataset.views > 1 else ''} are a batch of {order.batch_size}, and all "
                f"processes hold {batch}; give per_device_train_batch_size {order.batch_size // arguments.world_size}"
            )
        return order
    emotions = [clip.emotion for clip in dataset.clips]
    languages = [clip.row["language"] for clip in dataset.clips]
    first_view = 0 if arguments.clean_views else 1
    if arguments.balance == "source":
        return SourceBatches(
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
