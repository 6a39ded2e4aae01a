# SPDX-License-Identifier: Apache-2.0
"""Configuration of MSER: a Whisper encoder, an Emotion Q-Former and a causal language model."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, WhisperConfig
from transformers.configuration_utils import SubConfigSpec


class BackboneConfig(PreTrainedConfig):
    """A configuration with `audio_backbone`, perhaps `text_backbone`, and their revisions."""

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """
        As in `PreTrainedConfig`, where `AutoModel` and `pipeline` put `audio_backbone=` and `text_backbone=`.
        What is named there comes without the revision of what it replaces, and goes on to the model too, which refuses
        it for a part that the checkpoint holds.
        """
        named = {name: kwargs[name] for name in ("audio_backbone", "text_backbone") if kwargs.get(name) is not None}
        for name, place in named.items():
            if place != config_dict.get(name):
                kwargs.setdefault(f"{name}_revision", None)
        made = super().from_dict(config_dict, **kwargs)
        return (made[0], made[1] | named) if kwargs.get("return_unused_kwargs") else made


@strict
class MSERConfig(BackboneConfig):
    r"""
    Configuration of [`MSERForEmotionGeneration`] (arXiv:2503.21806, Sec. IV-A).

    Args:
        audio_config (`WhisperConfig` or `dict`, *optional*):
            The Whisper model whose encoder hears.
        qformer_config (`Blip2QFormerConfig` or `dict`, *optional*):
            The Emotion Q-Former. Its `encoder_hidden_size` always follows `audio_config.d_model`.
        text_config (`PreTrainedConfig` or `dict`, *optional*, defaults to a `LlamaConfig`):
            Any causal language model.
        num_query_tokens (`int`, *optional*, defaults to 32):
            Number of learned queries K, and so of audio positions in the language model's input.
        encoder_layers (`str` or `list[int]`, *optional*, defaults to `"last"`):
            What the Q-Former sees: `"last"` (the usual reading of the paper, which names no layer), `"weighted"` (a
            learned softmax over all layers) or a list of layers (a learned softmax over these). Layer 0 is the
            convolutions' output, layer n that of the n-th Transformer layer. But for `"last"`, each layer is brought
            to zero mean and unit variance per frame first.
        audio_token_id (`int`, *optional*):
            Id of the placeholder that the audio embeddings replace. It need not be inside the embedding matrix.
        audio_backbone, text_backbone (`str`, *optional*):
            Path or Hub id that the encoder and the language model were loaded from; `None` for a part trained from
            scratch, which is then always saved with the model.
        audio_backbone_revision, text_backbone_revision (`str`, *optional*):
            Their Hub revisions.
        audio_backbone_fingerprint, text_backbone_fingerprint (`dict`, *optional*):
            What their weight files held when the model was trained (`backbone_fingerprint`). Set on loading them.
        includes_backbones (`bool`, *optional*, defaults to `False`):
            Whether this checkpoint holds the frozen backbones' weights itself. Set on saving.
        changed_backbones (`list[str]`, *optional*):
            Which of `"audio"` and `"text"` are frozen but were trained before, so that every checkpoint holds them.
            Set on freezing them and on merging adapters.
        lora (`dict`, *optional*):
            Low-rank adapters of the language model, as arguments of `peft.LoraConfig`; `None` for none. They are
            trained, and saved, whether or not the language model is.
        freeze_audio, freeze_text (`bool`, *optional*, defaults to `True`):
            Whether the encoder and the language model stay as they are in training (the paper's choice). A frozen
            part that came from a backbone is not saved with the model.
        emotion_words (`list[str]`, *optional*):
            The words of the last training stage: the default candidates, and `id2label`. `None` before any training.
        label_token_ids (`list[list[int]]`, *optional*):
            Token ids of these words as they follow the prompt, for `MSERForAudioClassification`. See `set_labels`.
        learned_words (`list[str]`, *optional*):
            The only words that a language model trained from scratch knows: those of all its stages. `None` for a
            pretrained one, which can score any word.
        training_stages (`list[dict]`, *optional*):
            Labels, languages and speech sources of every training stage, oldest first. Set by a training.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of the initial queries and projection.
    """

    model_type = "mser"
    _auto_class = "AutoConfig"  # wherever it is saved, its code goes along
    sub_configs_defaults = {  # noqa: RUF012 - the library reads it off the class
        "audio_config": SubConfigSpec(config_class=WhisperConfig),
        "qformer_config": SubConfigSpec(config_class=AutoConfig, model_type="blip_2_qformer"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    audio_config: dict | PreTrainedConfig | None = None
    qformer_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    num_query_tokens: int = 32
    encoder_layers: str | list[int] = "last"
    audio_token_id: int | None = None
    audio_backbone: str | None = None
    audio_backbone_revision: str | None = None
    text_backbone: str | None = None
    text_backbone_revision: str | None = None
    audio_backbone_fingerprint: dict | None = None
    text_backbone_fingerprint: dict | None = None
    includes_backbones: bool = False
    changed_backbones: list[str] = field(default_factory=list)
    lora: dict | None = None
    freeze_audio: bool = True
    freeze_text: bool = True
    emotion_words: list[str] | None = None
    label_token_ids: list[list[int]] | None = None
    learned_words: list[str] | None = None
    training_stages: list[dict] | None = None
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.emotion_words:
            self.id2label, self.label2id = _label_maps(self.emotion_words)
        self.qformer_config.encoder_hidden_size = self.audio_config.d_model
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        self.used_encoder_layers  # noqa: B018 - a wrong `encoder_layers` is refused here, not in the first forward

    def set_labels(self, labels: Sequence[str], token_ids: Sequence[Sequence[int]]) -> None:
        """
        Set the default candidates, and with them `id2label` and `label2id`.

        Args:
            labels: the words.
            token_ids: of each word, `processor.candidate_ids(labels)`.
        """
        self.emotion_words = list(labels)
        self.label_token_ids = [list(ids) for ids in token_ids]
        self.id2label, self.label2id = _label_maps(labels)

    @property
    def emotion_embedding_size(self) -> int:
        """Of the `emotion_embedding` that the model returns."""
        return self.qformer_config.hidden_size

    @property
    def used_encoder_layers(self) -> tuple[int, ...]:
        """The encoder layers that the Q-Former sees, sorted; raises `ValueError` on an impossible choice."""
        return used_layers(self.encoder_layers, self.audio_config.encoder_layers)


def used_layers(encoder_layers: str | list[int], depth: int) -> tuple[int, ...]:
    """The layers that `"last"`, `"weighted"` or a list stand for, sorted.

    Raises:
        ValueError: an impossible choice.
    """
    if encoder_layers == "last":
        return (depth,)
    if encoder_layers == "weighted":
        return tuple(range(depth + 1))
    if isinstance(encoder_layers, str) or not encoder_layers or len(set(encoder_layers)) != len(encoder_layers):
        raise ValueError(f'encoder_layers is {encoder_layers!r}; give "last", "weighted" or a list of distinct layers')
    if min(encoder_layers) < 0 or max(encoder_layers) > depth:
        raise ValueError(f"encoder_layers is {encoder_layers}, but this encoder has layers 0 to {depth}")
    return tuple(sorted(encoder_layers))


def _label_maps(labels: Sequence[str]) -> tuple[dict[int, str], dict[str, int]]:
    """`id2label` and `label2id`, as the library's own tools read them."""
    return dict(enumerate(labels)), {label: index for index, label in enumerate(labels)}


__all__ = ["BackboneConfig", "MSERConfig", "used_layers"]
