# SPDX-License-Identifier: Apache-2.0
"""`EmotionClassifierProcessor`: features and labels for models with a classification head."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature

from .speech_processing_mser import SpeechProcessor


class EmotionClassifierProcessor(SpeechProcessor):
    """
    Feature extractor and class names of a classifier, with the interface of `MSERProcessor`.

    Classes replace tokens: `encode_text` returns the class of each emotion as its label, and `candidate_ids` the class
    of each word. Training, recognition and the pipeline therefore treat all model types alike.

    Args:
        feature_extractor: `WhisperFeatureExtractor`, or one for waveforms such as `Wav2Vec2FeatureExtractor`.
        emotion_words: the classes, in the order of the logits.
        crop_seconds: the model gets this many seconds from the middle of a longer clip; `None` means all of it.
    """

    prompt_version = None
    """A classifier has no prompt."""
    prompt = None
    # `Trainer` reads the special tokens of the processor's tokenizer for every model.
    tokenizer = SimpleNamespace(bos_token_id=None, eos_token_id=None, pad_token_id=None)

    def __init__(self, feature_extractor: Any, emotion_words: Sequence[str], crop_seconds: float | None = None):
        super().__init__(feature_extractor)
        self.emotion_words = list(emotion_words)
        self.crop_seconds = crop_seconds

    @property
    def model_input_names(self) -> list[str]:
        return ["input_features", "input_features_mask"]

    @property
    def pad_to(self) -> str:
        """Always `"longest"`, with a mask."""
        return "longest"

    @pad_to.setter
    def pad_to(self, value: str) -> None:
        if value != "longest":
            raise ValueError(f'pad_to is {value!r}; pass "longest", the only padding of a classifier')

    def __call__(
        self,
        audio: Any = None,
        emotion: str | Sequence[str] | None = None,
        return_tensors: str = "pt",
        sampling_rate: int | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """
        Read clips and return the model's inputs.

        Args:
            audio: one clip or a list of clips, each in any form of `load_audio`.
            emotion: the target word, one per clip.
            return_tensors: only `"pt"`.
            sampling_rate: of arrays and tensors, in Hz, as in `MSERProcessor`.

        Returns:
            `input_features`, log-mel spectrograms `(batch_size, num_mel_bins, num_frames)` or waveforms
            `(batch_size, num_samples)`, and `input_features_mask` over their last axis; with an emotion `labels`
            `(batch_size,)`.

        Raises:
            AudioError: a clip cannot be used.
            ValueError: an emotion is not a class of the model.
        """
        waveforms = self._read(audio, sampling_rate, return_tensors, kwargs)
        emotions = [emotion] if isinstance(emotion, str) else emotion
        return BatchFeature({**self.extract_features(waveforms), **self.encode_text(len(waveforms), emotions)})

    def extract_features(self, waveforms: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Crop mono waveforms `(num_samples,)` and extract `input_features` and their mask of each alone."""
        how: dict[str, Any] = {"truncation": False}
        if self.feature_extractor.model_input_names[0] == "input_features":
            how["padding"] = "do_not_pad"
        if self.crop_seconds is not None:
            size = int(self.crop_seconds * self.sampling_rate)
            starts = [max(0, (len(waveform) - size) // 2) for waveform in waveforms]
            waveforms = [waveform[start : start + size] for waveform, start in zip(waveforms, starts)]
        return self._features(waveforms, **how)

    def encode_text(self, batch_size: int, emotion: Sequence[str | None] | None = None) -> dict[str, torch.Tensor]:
        """Return `labels` `(batch_size,)`, -100 for an emotion that is `None`; without emotions an empty dict."""
        if emotion is None:
            return {}
        if len(emotion) != batch_size:
            raise ValueError(f"{len(emotion)} values of emotion for {batch_size} clips; pass one per clip")
        classes = [-100 if one is None else self.candidate_ids([one])[0][0] for one in emotion]
        return {"labels": torch.tensor(classes)}

    def prompt_inputs(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the text inputs before the answer: none."""
        return {}

    def candidate_ids(self, words: Sequence[str]) -> list[list[int]]:
        """
        Return the class of each word, in any case, as a list with one item.

        Raises:
            ValueError: the model has no output for a word.
        """
        classes = {word.casefold(): index for index, word in enumerate(self.emotion_words)}
        unknown = [word for word in words if word.casefold() not in classes]
        if unknown:
            raise ValueError(
                f"this model is a classifier of {', '.join(self.emotion_words)} and has no output for "
                f"{', '.join(unknown)}; choose from its words, or train it on yours"
            )
        return [[classes[word.casefold()]] for word in words]
