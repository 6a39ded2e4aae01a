# SPDX-License-Identifier: Apache-2.0
"""The Emotion Q-Former: learned queries that draw what matters for emotion out of the encoder's frames."""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, BertConfig, BertModel, PreTrainedConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel

from .backbones_mser import quiet_load_report, shape_difference
from .configuration_mser import MSERConfig
from .whisper_encoder_mser import mix_layers


# BERT's names on the left, the stock Q-Former's on the right. Order matters: `attention.output` keeps its name.
BERT_TO_QFORMER = (
    (".attention.self.", ".attention.attention."),
    (".attention.output.", ".attention.output."),
    (".intermediate.", ".intermediate_query."),
    (".output.", ".output_query."),
)


class EmotionQFormer(nn.Module):
    """
    Stock `blip_2_qformer` with learned queries over one or several encoder layers (arXiv:2503.21806, Sec. IV-A).

    Several layers are mixed by a learned softmax, each brought to zero mean and unit variance per frame before, since
    the layers of Whisper differ in scale by orders of magnitude.
    """

    def __init__(self, config: MSERConfig):
        super().__init__()
        hidden_size = config.qformer_config.hidden_size
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, hidden_size))
        self.layer_weights = nn.Parameter(torch.zeros(len(config.used_encoder_layers)))
        self.qformer = Blip2QFormerModel._from_config(config.qformer_config)

    def forward(self, encoder_states: torch.Tensor, encoder_mask: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            encoder_states: `(batch_size, num_layers, num_frames, d_model)`.
            encoder_mask: `(batch_size, num_frames)`, true on real frames; `None` stands for all true.

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
        An Emotion Q-Former whose self-attention, feed-forward layers and norms are BERT's; the cross-attention and
        the queries, which BERT has not, are initialised at random.

        Args:
            path_or_id: a BERT checkpoint with the hidden, feed-forward and head sizes of `config.qformer_config` and
                at least as many layers; its first layers are taken.
            config: configuration of the whole model.
            kwargs: passed on to `AutoModel.from_pretrained` (`revision`, `token`, …).

        Raises:
            ValueError: the checkpoint is no BERT, or its sizes differ.
        """
        wanted = config.qformer_config
        found = bert_config(path_or_id, **kwargs)
        if found.model_type != "bert":
            raise ValueError(f"{path_or_id}: a {found.model_type} checkpoint; the Q-Former is initialised from BERT")
        for name in ("hidden_size", "intermediate_size", "num_attention_heads"):
            if getattr(found, name) != getattr(wanted, name):
                raise ValueError(
                    f"{path_or_id}: {name} is {getattr(found, name)}, the Q-Former's {getattr(wanted, name)}; "
                    f"set qformer_config.{name}: {getattr(found, name)}"
                )
        if found.num_hidden_layers < wanted.num_hidden_layers:
            raise ValueError(
                f"{path_or_id}: {found.num_hidden_layers} layers, the Q-Former wants {wanted.num_hidden_layers}; "
                f"set qformer_config.num_hidden_layers to at most {found.num_hidden_layers}"
            )
        with quiet_load_report():  # of the pooler, which is not wanted
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
        if absent := sorted(info["missing_keys"]):
            raise ValueError(
                f"{path_or_id}: its weights lack {len(absent)} of BERT's, {absent[0]} among them; copy it again, or "
                "name another"
            )
        module = cls(config)
        module.initialize_queries(config.initializer_range)
        module.qformer.init_weights()
        renamed = bert_to_qformer(bert.state_dict(), wanted.num_hidden_layers)
        result = module.qformer.load_state_dict(renamed, strict=False)
        uninitialised = [key for key in result.missing_keys if ".crossattention." not in key]
        if uninitialised or result.unexpected_keys:
            raise ValueError(
                f"{path_or_id}: not a BERT encoder as transformers writes it; "
                f"missing {uninitialised[:3]}, unexpected {result.unexpected_keys[:3]}"
            )
        return module

    @torch.no_grad()
    def initialize_queries(self, std: float) -> None:
        self.query_tokens.normal_(0.0, std)
        self.layer_weights.zero_()


def bert_config(path_or_id: str, **kwargs: Any) -> PreTrainedConfig:
    """
    The configuration of a BERT, also of one that does not state its type, as Google's small ones on the Hub.

    Args:
        path_or_id: folder or Hub id.
        kwargs: as in `AutoConfig.from_pretrained`.

    Raises:
        OSError: there is none, or the Hub cannot be reached.
        ValueError: its type is unknown.
    """
    stated, _ = PreTrainedConfig.get_config_dict(path_or_id, **kwargs)
    sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "type_vocab_size")
    if "model_type" not in stated and all(name in stated for name in sizes):
        return BertConfig.from_dict(stated)
    return AutoConfig.from_pretrained(path_or_id, **kwargs)


def bert_to_qformer(state_dict: dict[str, torch.Tensor], num_layers: int) -> dict[str, torch.Tensor]:
    """The first `num_layers` layers of a `BertModel`'s weights under the names of `Blip2QFormerModel`."""
    renamed = {}
    for key, value in state_dict.items():
        if key.startswith("embeddings.LayerNorm."):
            renamed[key.replace("embeddings.LayerNorm.", "layernorm.")] = value
        elif key.startswith("encoder.layer.") and int(key.split(".")[2]) < num_layers:
            old, new = next(pair for pair in BERT_TO_QFORMER if pair[0] in key)
            renamed[key.replace(old, new)] = value
    return renamed


__all__ = ["EmotionQFormer"]
