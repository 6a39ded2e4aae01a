# SPDX-License-Identifier: Apache-2.0
"""Register the types of models: their classes, their settings and what they can do."""

from dataclasses import dataclass
from typing import Any

from mser_llm.io.errors import InputError


@dataclass(frozen=True)
class ModelType:
    """
    A type of model. Imports neither torch nor transformers before its classes are used.

    Attributes:
        name: `model_type` of its `config.json`.
        network_name: its class in `modeling_mser`.
        processor_name: its class in `processing_mser`.
        settings: the keys of a recipe's model section that not every type has. Those of a classifier are fields of its
            configuration.
        has_language_model: it scores any candidate label with a language model, and takes a prompt.
        freezes_encoder: no layer of its encoder is ever trained.
    """

    name: str
    network_name: str
    processor_name: str
    settings: tuple[str, ...]
    has_language_model: bool = False
    freezes_encoder: bool = False

    @property
    def network(self) -> Any:
        """The class of the network."""
        import modeling_mser

        return getattr(modeling_mser, self.network_name)

    @property
    def processor(self) -> Any:
        """The class of the processor."""
        import processing_mser

        return getattr(processing_mser, self.processor_name)


_HEAD = ("head_size", "head_dropout")
_PARTS = ("text_backbone", "text_backbone_revision", "text_config", "qformer_backbone", "qformer_config")
MODEL_TYPES: dict[str, ModelType] = {
    one.name: one
    for one in (
        ModelType(
            "mser",
            "MSERForEmotionGeneration",
            "MSERProcessor",
            settings=(
                *_PARTS, "num_query_tokens", "encoder_layers", "freeze_audio", "freeze_text", "backbone_dtype", "lora",
                "prompt_version", "pad_to",
            ),
            has_language_model=True,
        ),
        ModelType(
            "whisper_classifier",
            "WhisperForEmotionClassification",
            "EmotionClassifierProcessor",
            settings=(*_HEAD, "trained_layers", "max_seconds"),
        ),
        ModelType(
            "wav2vec2_classifier",
            "Wav2Vec2ForEmotionClassification",
            "EmotionClassifierProcessor",
            settings=(*_HEAD, "encoder_layers", "pooling", "embedding_size"),
            freezes_encoder=True,
        ),
    )
}  # fmt: skip


def find_model_type(name: str) -> ModelType:
    """Return a type by its name.

    Raises:
        InputError: no model of this project has that type.
    """
    if name not in MODEL_TYPES:
        raise InputError(f"model type {name!r}", "is unknown", f"choose from {', '.join(MODEL_TYPES)}")
    return MODEL_TYPES[name]


def model_types_with(setting: str) -> tuple[str, ...]:
    """Return the names of the types that have a setting of a recipe's model section; all, if it is common to them."""
    return tuple(name for name, one in MODEL_TYPES.items() if setting in one.settings) or tuple(MODEL_TYPES)


def model_type_of(place: str, **hub_options: Any) -> str:
    """Return the `model_type` of a checkpoint; empty if its configuration has none.

    Args:
        place: folder or Hub id.
        hub_options: as for `from_pretrained`.

    Raises:
        OSError: it has no configuration, or cannot be reached.
    """
    from transformers import PreTrainedConfig

    return PreTrainedConfig.get_config_dict(place, **hub_options)[0].get("model_type", "")
