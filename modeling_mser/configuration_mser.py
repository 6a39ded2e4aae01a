# SPDX-License-Identifier: Apache-2.0
"""Configuration of MSER: a Whisper encoder, an Emotion Q-Former and a causal language model."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, WhisperConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class BackboneConfig(PreTrainedConfig):
    """Fields of every configuration; [`MSERConfig`] describes them."""

    audio_config: dict | PreTrainedConfig | None = None
    audio_backbone: str | None = None
    audio_backbone_revision: str | None = None
    audio_backbone_fingerprint: dict | None = None
    includes_backbones: bool = False
    changed_backbones: list[str] = field(default_factory=list)
    emotion_words: list[str] | None = None
    learned_words: list[str] | None = None
    training_stages: list[dict] | None = None
    initializer_range: float = 0.02

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """
        As in `PreTrainedConfig`. `AutoModel` and `pipeline` pass `audio_backbone=` and `text_backbone=` here.

        A backbone passed here drops the revision of the one it replaces. The argument is also passed on to the model,
        which rejects it for a part that the checkpoint contains.
        """
        passed = {name: kwargs[name] for name in ("audio_backbone", "text_backbone") if kwargs.get(name) is not None}
        for name, path_or_id in passed.items():
            if path_or_id != config_dict.get(name):
                kwargs.setdefault(f"{name}_revision", None)
        result = super().from_dict(config_dict, **kwargs)
        return (result[0], result[1] | passed) if kwargs.get("return_unused_kwargs") else result


@strict
class MSERConfig(BackboneConfig):
    r"""
    Configuration of [`MSERForEmotionGeneration`] (arXiv:2503.21806, Sec. IV-A).

    Args:
        audio_config (`WhisperConfig` or `dict`, *optional*):
            The Whisper model whose encoder is used.
        qformer_config (`Blip2QFormerConfig` or `dict`, *optional*):
            The Emotion Q-Former. Its `encoder_hidden_size` always follows `audio_config.d_model`.
        text_config (`PreTrainedConfig` or `dict`, *optional*, defaults to a `LlamaConfig`):
            Any causal language model.
        num_query_tokens (`int`, *optional*, defaults to 32):
            Number of learned queries K, which is the number of audio positions in the language model's input.
        encoder_layers (`str` or `list[int]`, *optional*, defaults to `"last"`):
            Input of the Q-Former: `"last"` (the usual reading of the paper, which names no layer), `"weighted"` (a
            learned softmax over all layers) or a list of layers (a learned softmax over these). Layer 0 is the output
            of the convolutions, layer n that of the n-th Transformer layer. Except for `"last"`, each layer is
            normalized to zero mean and unit variance per frame first.
        audio_token_id (`int`, *optional*):
            Id of the placeholder that the audio embeddings replace. It may be outside the embedding matrix.
        audio_backbone, text_backbone (`str`, *optional*):
            Path or Hub id that the encoder and the language model were loaded from; `None` for a part trained from
            scratch, which is always saved with the model.
        audio_backbone_revision, text_backbone_revision (`str`, *optional*):
            Their Hub revisions.
        audio_backbone_fingerprint, text_backbone_fingerprint (`dict`, *optional*):
            Fingerprints of their weight files at training time (`backbone_fingerprint`). Set on loading them.
        includes_backbones (`bool`, *optional*, defaults to `False`):
            Whether this checkpoint contains the weights of the frozen backbones. Set on saving.
        changed_backbones (`list[str]`, *optional*):
            Which of `"audio"` and `"text"` are frozen but were trained before, so that every checkpoint contains
            them. Set on freezing them and on merging adapters.
        lora (`dict`, *optional*):
            Low-rank adapters of the language model, as arguments of `peft.LoraConfig`; `None` for none. They are
            trained and saved whether or not the language model is.
        freeze_audio, freeze_text (`bool`, *optional*, defaults to `True`):
            Whether the encoder and the language model are frozen in training (the paper's choice). A frozen part that
            came from a backbone is not saved with the model.
        emotion_words (`list[str]`, *optional*):
            Labels of the last training stage: the default candidates, and `id2label`. `None` before any training.
        label_token_ids (`list[list[int]]`, *optional*):
            Token ids of these labels as they follow the prompt, for `MSERForAudioClassification`. See `set_labels`.
        learned_words (`list[str]`, *optional*):
            The only labels that a language model trained from scratch knows: those of all its stages. `None` for a
            pretrained one, which can score any word.
        training_stages (`list[dict]`, *optional*):
            Labels, languages and speech sources of every training stage, oldest first. Set by training.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of the initial queries and projection.

    Raises:
        ValueError: `encoder_layers` names a layer that the encoder does not have.
    """

    model_type = "mser"
    sub_configs_defaults = {  # noqa: RUF012 - transformers reads it from the class
        "audio_config": SubConfigSpec(config_class=WhisperConfig),
        "qformer_config": SubConfigSpec(config_class=AutoConfig, model_type="blip_2_qformer"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    qformer_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    num_query_tokens: int = 32
    encoder_layers: str | list[int] = "last"
    audio_token_id: int | None = None
    text_backbone: str | None = None
    text_backbone_revision: str | None = None
    text_backbone_fingerprint: dict | None = None
    lora: dict | None = None
    freeze_audio: bool = True
    freeze_text: bool = True
    label_token_ids: list[list[int]] | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.emotion_words:
            self.id2label, self.label2id = label_maps(self.emotion_words)
        self.qformer_config.encoder_hidden_size = self.audio_config.d_model
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        self.used_encoder_layers  # noqa: B018 - raises on a wrong `encoder_layers` before the first forward

    def set_labels(self, labels: Sequence[str], token_ids: Sequence[Sequence[int]]) -> None:
        """
        Set the default candidate labels, `id2label` and `label2id`.

        Args:
            labels: the labels.
            token_ids: token ids of each label, `processor.candidate_ids(labels)`.
        """
        self.emotion_words = list(labels)
        self.label_token_ids = [list(ids) for ids in token_ids]
        self.id2label, self.label2id = label_maps(labels)

    @property
    def emotion_embedding_size(self) -> int:
        """Size of the `emotion_embedding` that the model returns."""
        return self.qformer_config.hidden_size

    @property
    def used_encoder_layers(self) -> tuple[int, ...]:
        """Encoder layers that the Q-Former takes as input, sorted."""
        return used_layers(self.encoder_layers, self.audio_config.encoder_layers)


def used_layers(encoder_layers: str | list[int], depth: int) -> tuple[int, ...]:
    """
    Return the layers that `"last"`, `"weighted"` or a list selects, sorted.

    Raises:
        ValueError: the selection is impossible for an encoder of `depth` layers.
    """
    if encoder_layers == "last":
        return (depth,)
    if encoder_layers == "weighted":
        return tuple(range(depth + 1))
    if isinstance(encoder_layers, str) or not encoder_layers or len(set(encoder_layers)) != len(encoder_layers):
        raise ValueError(f'encoder_layers is {encoder_layers!r}; pass "last", "weighted" or a list of distinct layers')
    if min(encoder_layers) < 0 or max(encoder_layers) > depth:
        raise ValueError(f"encoder_layers is {encoder_layers}; this encoder has layers 0 to {depth}")
    return tuple(sorted(encoder_layers))


def label_maps(labels: Sequence[str]) -> tuple[dict[int, str], dict[str, int]]:
    """Build `id2label` and `label2id`, from which tools of transformers read the classes."""
    return dict(enumerate(labels)), {label: index for index, label in enumerate(labels)}


MSERConfig.register_for_auto_class()  # saves the code with every configuration
