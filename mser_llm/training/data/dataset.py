# SPDX-License-Identifier: Apache-2.0
"""Dataset and collator: clips to padded batches, with features from the cache or computed on demand."""

from collections.abc import Sequence
from typing import Any

import torch

from mser_llm.data.clips import Clip
from mser_llm.inference.feature_cache import ClipFeatures
from mser_llm.training.objectives import UNKNOWN, TrainingFacts
from processing_mser import EmotionClassifierProcessor, LabelSet, MSERProcessor


class EmotionDataset(torch.utils.data.Dataset):
    """
    Clips and their views: item `i` is view `i % views` of clip `i // views`.

    Args:
        clips: the clips.
        features: returns the features of a view of a clip.
        label_set: the label set.
        views: number of views per clip.
        facts: languages and speakers, whose indices are the labels; by default all labels are `UNKNOWN`.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        features: ClipFeatures,
        label_set: LabelSet,
        views: int = 1,
        facts: TrainingFacts | None = None,
    ):
        self.clips, self.features, self.label_set, self.views = list(clips), features, label_set, views
        self.languages = {} if facts is None else {name: index for index, name in enumerate(facts.languages)}
        self.speakers = {} if facts is None else {name: index for index, name in enumerate(facts.speakers)}

    def __len__(self) -> int:
        return len(self.clips) * self.views

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip = self.clips[index // self.views]
        return {
            "features": self.features(clip, index % self.views),
            "view": index % self.views,
            "emotion": clip.emotion,
            "emotion_label": UNKNOWN if clip.emotion is None else self.label_set.words.index(clip.emotion),
            "language_label": self.languages.get(clip.row["language"], UNKNOWN),
            "speaker_label": self.speakers.get(clip.row["speaker"], UNKNOWN),
        }


class EmotionCollator:
    """
    Collate items into a padded batch.

    A batch contains the features with their mask, and `[bos, audio x K, prompt, emotion, eos]` with its labels. For
    the objectives it contains `emotion_labels`, `language_labels` and `speaker_labels` `(batch_size,)`. `views`
    `(batch_size,)` is 0 for original clips and positive for augmented views.

    Args:
        processor: encodes the text.
        encoded: whether the features are encoder states instead of log-mel spectrograms.
    """

    def __init__(self, processor: MSERProcessor | EmotionClassifierProcessor, encoded: bool):
        self.processor, self.encoded = processor, encoded

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        # Axis of the frames.
        axis = -2 if self.encoded else -1
        features = [item["features"].movedim(axis, 0) for item in items]
        lengths = torch.tensor([len(feature) for feature in features])
        padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True).float()
        mask = torch.arange(padded.shape[1]) < lengths[:, None]
        names = ("encoder_states", "encoder_mask") if self.encoded else ("input_features", "input_features_mask")
        batch = self.processor.encode_text(len(items), [item["emotion"] for item in items])
        batch |= {names[0]: padded.movedim(1, axis), names[1]: mask}
        batch["views"] = torch.tensor([item["view"] for item in items])
        kinds = ("emotion", "language", "speaker")
        return batch | {f"{kind}_labels": torch.tensor([item[f"{kind}_label"] for item in items]) for kind in kinds}
