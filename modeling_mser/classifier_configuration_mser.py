# SPDX-License-Identifier: Apache-2.0
"""Configurations of the two classifiers that MSER is compared with."""

import math
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, WhisperConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_mser import BackboneConfig, label_maps, used_layers


@strict
class EmotionClassifierConfig(BackboneConfig):
    r"""
    Configuration shared by both classifiers: an encoder, and a head over one label set.

    Fields about the encoder, the labels and the training are those of [`MSERConfig`]. Subclasses define
    `used_encoder_layers`, `freeze_audio` and `emotion_embedding_size`.

    Args:
        learned_words (`list[str]`, *optional*, defaults to `emotion_words`):
            The classes, in the order of the logits.
        head_size (`int`, *optional*, defaults to 256):
            Width of the hidden layer of the head.
        head_dropout (`float`, *optional*, defaults to 0.1):
            Dropout of the inputs of both its layers.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of the head's initial weights.
    """

    # Read by `BackboneCheckpointMixin`; a classifier has no language model.
    freeze_text = False
    text_backbone = None
    lora = None

    head_size: int = 256
    head_dropout: float = 0.1

    def __post_init__(self, **kwargs: Any) -> None:
        self.emotion_words = self.emotion_words or ["neutral", "happy", "sad", "angry"]
        self.learned_words = self.learned_words or list(self.emotion_words)
        kwargs["id2label"], kwargs["label2id"] = label_maps(self.learned_words)
        super().__post_init__(**kwargs)

    @property
    def audio_depth(self) -> int:
        """Number of Transformer layers of the encoder."""
        if self.audio_config.model_type == "whisper":
            return self.audio_config.encoder_layers
        return self.audio_config.num_hidden_layers


@strict
class WhisperClassifierConfig(EmotionClassifierConfig):
    r"""
    Configuration of [`WhisperForEmotionClassification`] (Gong et al. 2025, "Learning More with Less", Sec. 3.2).

    Args:
        max_seconds (`float`, *optional*, defaults to 4.0):
            Length that the encoder's positions are cropped to. Of a longer clip the middle is used.
        trained_layers (`int`, *optional*):
            Number of top encoder layers that are trained; `None` for all (the paper's choice). The convolutions and
            the positions are always frozen.

    The other arguments are those of [`EmotionClassifierConfig`].
    """

    model_type = "whisper_classifier"
    sub_configs_defaults = {  # noqa: RUF012 - transformers reads it from the class
        "audio_config": SubConfigSpec(config_class=WhisperConfig)
    }

    max_seconds: float = 4.0
    trained_layers: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.used_encoder_layers  # noqa: B018 - raises on a wrong selection before the first forward
        if not 0 < self.max_seconds <= 30:
            raise ValueError(f"max_seconds is {self.max_seconds:g}; pass more than 0 and at most Whisper's 30")
        # Two frames of 10 ms share a position; an odd last frame has its own.
        self.audio_config.max_source_positions = math.ceil(int(100 * self.max_seconds + 1e-6) / 2)

    @property
    def used_encoder_layers(self) -> tuple[int, ...]:
        """The deepest layer that is not trained; 0 is the output of the convolutions."""
        depth = self.audio_depth
        trained = depth if self.trained_layers is None else self.trained_layers
        if not 0 <= trained <= depth:
            raise ValueError(f"trained_layers is {trained}; this encoder has {depth} layers")
        return (depth - trained,)

    @property
    def freeze_audio(self) -> bool:
        return self.used_encoder_layers == (self.audio_depth,)

    @property
    def emotion_embedding_size(self) -> int:
        return self.audio_config.d_model


@strict
class Wav2Vec2ClassifierConfig(EmotionClassifierConfig):
    r"""
    Configuration of [`Wav2Vec2ForEmotionClassification`] (after Ma et al. 2026, arXiv:2606.06200).

    Args:
        encoder_layers (`str` or `list[int]`, *optional*, defaults to `"weighted"`):
            Input of the head: a learned softmax over all layers, the `"last"`, or a softmax over a list of layers.
            Except for `"last"`, each layer is normalized to zero mean and unit variance per frame first.
        pooling (`str`, *optional*, defaults to `"mean"`):
            `"mean"` over time, or `"mean_std"`, which appends the standard deviation.
        embedding_size (`int`, *optional*, defaults to 256):
            Width of the emotion embedding, the layer that head and objectives share.

    The other arguments are those of [`EmotionClassifierConfig`]; the encoder is always frozen.
    """

    model_type = "wav2vec2_classifier"
    sub_configs_defaults = {  # noqa: RUF012 - transformers reads it from the class
        "audio_config": SubConfigSpec(config_class=AutoConfig, model_type="wav2vec2")
    }
    freeze_audio = True

    encoder_layers: str | list[int] = "weighted"
    pooling: str = "mean"
    embedding_size: int = 256

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.used_encoder_layers  # noqa: B018 - raises on a wrong selection before the first forward
        if self.pooling not in ("mean", "mean_std"):
            raise ValueError(f'pooling is {self.pooling!r}; pass "mean" or "mean_std"')
        # A frozen encoder is not masked in training, and some checkpoints lack the mask embedding.
        for name in ("mask_time_prob", "mask_feature_prob"):
            if hasattr(self.audio_config, name):
                setattr(self.audio_config, name, 0.0)

    @property
    def used_encoder_layers(self) -> tuple[int, ...]:
        return used_layers(self.encoder_layers, self.audio_depth)

    @property
    def emotion_embedding_size(self) -> int:
        return self.embedding_size


EmotionClassifierConfig.register_for_auto_class()  # saves the code with every configuration
