# SPDX-License-Identifier: Apache-2.0
"""Clips to padded batches, with features from the cache or computed on demand."""

from collections.abc import Sequence
from typing import Any

import torch

from mser_llm.data.clips import Clip
from mser_llm.inference.feature_cache import ClipFeatures
from mser_llm.training.objectives import UNKNOWN, TrainingFacts
from processing_mser import EmotionClassifierProcessor, LabelSet, MSERProcessor


class EmotionDataset(torch.utils.data.Dataset):
    """
    Clips with their views, clip by clip: item `i` is view `i % views` of clip `i // views`.

    Args:
        clips: prepared ones.
        features: where their features come from.
        label_set: of the task.
        views: of each clip.
        facts: by which languages and speakers are numbered for the objectives; all are unknown without.
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
            "emotion_label": UNKNOWN if clip.emotion is None else self.label_set.index(clip.emotion),
            "language_label": self.languages.get(clip.row["language"], UNKNOWN),
            "speaker_label": self.speakers.get(clip.row["speaker"], UNKNOWN),
        }


class EmotionCollator:
    """
    Items to a padded batch: features with their mask, `[bos, audio x K, prompt, emotion, eos]` with its labels, and
    `emotion_labels`, `language_labels`, `speaker_labels` `(batch_size,)` for the objectives; `views` `(batch_size,)`
    distinguishes the clips themselves (0) from their augmented views.

    Args:
        processor: builds the text.
        encoded: whether the features are encoder states or log-mel spectrograms.
    """

    def __init__(self, processor: MSERProcessor | EmotionClassifierProcessor, encoded: bool):
        self.processor, self.encoded = processor, encoded

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        # Frames are the last axis but one of encoder states, and the last of spectrograms.
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
