# SPDX-License-Identifier: Apache-2.0
"""The Emotion Q-Former: learned queries that extract emotion from the encoder's frames."""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, BertConfig, BertModel, Blip2QFormerModel, PreTrainedConfig

from .backbone_files_mser import resolve_backbone
from .backbones_mser import shape_difference
from .compat_mser import build_from_config, quiet_load_report
from .configuration_mser import MSERConfig
from .whisper_encoder_mser import mix_layers


# Names in BERT and in the stock Q-Former. Order matters: `attention.output` keeps its name.
BERT_TO_QFORMER = (
    (".attention.self.", ".attention.attention."),
    (".attention.output.", ".attention.output."),
    (".intermediate.", ".intermediate_query."),
    (".output.", ".output_query."),
)


class EmotionQFormer(nn.Module):
    """
    Stock `blip_2_qformer` with learned queries over one or several encoder layers (arXiv:2503.21806, Sec. IV-A).

    Several layers are mixed by a learned softmax. The caller normalizes each layer per frame first, because the layers
    of Whisper differ in scale by orders of magnitude.
    """

    def __init__(self, config: MSERConfig):
        super().__init__()
        hidden_size = config.qformer_config.hidden_size
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, hidden_size))
        self.layer_weights = nn.Parameter(torch.zeros(len(config.used_encoder_layers)))
        self.qformer = build_from_config(Blip2QFormerModel, config.qformer_config)

    def forward(self, encoder_states: torch.Tensor, encoder_mask: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            encoder_states: `(batch_size, num_layers, num_frames, d_model)`.
            encoder_mask: `(batch_size, num_frames)`, true on real frames; `None` means all true.

        Returns:
            Query outputs `(batch_size, num_query_tokens, hidden_size)`.
        """
        mixed = mix_layers(encoder_states, self.layer_weights)
        queries = self.query_tokens.expand(encoder_states.shape[0], -1, -1)
        return self.qformer(
            query_embeds=queries, encoder_hidden_states=mixed, encoder_attention_mask=encoder_mask
        ).last_hidden_state

    @classmethod
    def from_bert(cls, path_or_id: str, config: MSERConfig, **kwargs: Any) -> "EmotionQFormer":
        """
        Build an Emotion Q-Former with the self-attention, feed-forward layers and norms of a BERT.

        The cross-attention and the queries, which BERT does not have, are initialized randomly.

        Args:
            path_or_id: a BERT (path, Hub id or `"minilm"`) with the hidden, feed-forward and head sizes of
                `config.qformer_config` and at least as many layers; its first layers are used.
            config: configuration of the complete model.
            kwargs: passed to `from_pretrained` (`revision`, `token`, …).

        Raises:
            ValueError: the checkpoint is not a BERT, is incomplete, or has other sizes.
        """
        wanted = config.qformer_config
        path_or_id = resolve_backbone(path_or_id)
        found = bert_config(path_or_id, **kwargs)
        if found.model_type != "bert":
            raise ValueError(f"{path_or_id}: is a {found.model_type} checkpoint; pass a BERT")
        for name in ("hidden_size", "intermediate_size", "num_attention_heads"):
            if getattr(found, name) != getattr(wanted, name):
                raise ValueError(
                    f"{path_or_id}: {name} is {getattr(found, name)}, the Q-Former's is {getattr(wanted, name)}; "
                    f"set qformer_config.{name}: {getattr(found, name)}"
                )
        if found.num_hidden_layers < wanted.num_hidden_layers:
            raise ValueError(
                f"{path_or_id}: has {found.num_hidden_layers} layers, the Q-Former {wanted.num_hidden_layers}; "
                f"set qformer_config.num_hidden_layers to at most {found.num_hidden_layers}"
            )
        with quiet_load_report():  # it would list the unused pooler
            bert, info = BertModel.from_pretrained(
                path_or_id,
                config=found,
                dtype=torch.float32,
                add_pooling_layer=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **kwargs,
            )
        if (difference := shape_difference(info["mismatched_keys"])) is not None:
            raise ValueError(f"{path_or_id}: its weights do not fit its config.json: {difference}; copy it again")
        if missing := sorted(info["missing_keys"]):
            raise ValueError(
                f"{path_or_id}: lacks {len(missing)} of BERT's weights, such as {missing[0]}; copy it again, or pass "
                "another"
            )
        module = cls(config)
        nn.init.normal_(module.query_tokens, std=config.initializer_range)
        module.qformer.init_weights()
        renamed = bert_to_qformer(bert.state_dict(), wanted.num_hidden_layers)
        result = module.qformer.load_state_dict(renamed, strict=False)
        assert not result.unexpected_keys and all(".crossattention." in key for key in result.missing_keys)
        return module


def bert_config(path_or_id: str, **kwargs: Any) -> PreTrainedConfig:
    """Load the configuration of a BERT, even one without `model_type`, such as Google's small ones on the Hub."""
    values, _ = PreTrainedConfig.get_config_dict(path_or_id, **kwargs)
    sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "type_vocab_size")
    if "model_type" not in values and all(name in values for name in sizes):
        return BertConfig.from_dict(values)
    return AutoConfig.from_pretrained(path_or_id, **kwargs)


def bert_to_qformer(state_dict: dict[str, torch.Tensor], num_layers: int) -> dict[str, torch.Tensor]:
    """Rename the first `num_layers` layers of a `BertModel`'s weights to those of `Blip2QFormerModel`."""
    renamed = {}
    for key, value in state_dict.items():
        if key.startswith("embeddings.LayerNorm."):
            renamed[key.replace("embeddings.LayerNorm.", "layernorm.")] = value
        elif key.startswith("encoder.layer.") and int(key.split(".")[2]) < num_layers:
            old, new = next(pair for pair in BERT_TO_QFORMER if pair[0] in key)
            renamed[key.replace(old, new)] = value
    return renamed
