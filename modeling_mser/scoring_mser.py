# SPDX-License-Identifier: Apache-2.0
"""Score all candidate labels of a batch in one pass over their shared prefix, if a tree mask can separate them."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from .compat_mser import is_stateful


# Layer types of transformers' configurations that obey a 4-D mask. No prompt is longer than a sliding window.
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
# Settings with which an architecture changes its logits after the head.
_RESCALED_LOGITS = (
    "final_logit_softcapping",
    "logits_scaling",
    "logit_scale",
    "lm_head_multiplier",
    "output_multiplier",
)


def score_candidates(
    language_model: PreTrainedModel,
    inputs_embeds: torch.Tensor,
    attention_mask: torch.Tensor,
    candidate_ids: Sequence[Sequence[int]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Compute the log-probability of each candidate label after each prefix `(batch_size, prefix_length, hidden_size)`.

    Args:
        language_model: a causal language model (`sdpa` or `eager` attention). A model that does not support tree
            attention (recurrent, convolutional, ALiBi) runs once per label.
        inputs_embeds, attention_mask: the prefixes, padded on the left.
        candidate_ids: token ids of each label, end of sequence included, so that a label may begin another.

    Returns:
        `(batch_size, num_labels)` in float32, and the labels' lengths in tokens `(num_labels,)`.
    """
    if not all(isinstance(ids, Sequence) and not isinstance(ids, str) for ids in candidate_ids):
        raise ValueError("candidate_ids is not a list of lists of token ids; pass processor.candidate_ids(labels)")
    if not candidate_ids or any(len(ids) == 0 for ids in candidate_ids):
        raise ValueError("candidate_ids lacks labels, or tokens of a label; pass processor.candidate_ids(labels)")

    def tensor(values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=inputs_embeds.device)

    lengths = tensor([len(ids) for ids in candidate_ids])
    if not supports_tree_attention(language_model):
        scores = [_score_alone(language_model, inputs_embeds, attention_mask, ids) for ids in candidate_ids]
        return torch.stack(scores, dim=1), lengths
    # All labels are one sequence after the prefix, without each label's last token, which is only predicted.
    batch_size = len(attention_mask)
    label_of = tensor([label for label, ids in enumerate(candidate_ids) for _ in ids[:-1]])
    depths = tensor([depth for ids in candidate_ids for depth in range(len(ids) - 1)])
    first_ids = tensor([ids[0] for ids in candidate_ids])
    next_ids = tensor([token for ids in candidate_ids for token in ids[1:]])
    input_ids = tensor([token for ids in candidate_ids for token in ids[:-1]])
    # Each label attends to the prefix and itself.
    attends = (label_of[:, None] == label_of[None, :]) & (depths[:, None] >= depths[None, :])
    labels = language_model.get_input_embeddings()(input_ids).to(inputs_embeds.dtype)
    label_positions = attention_mask.sum(-1, keepdim=True) + depths
    log_probabilities = _log_probabilities(
        language_model,
        torch.cat([first_ids, next_ids]),
        inputs_embeds=torch.cat([inputs_embeds, labels.expand(batch_size, -1, -1)], dim=1),
        attention_mask=tree_mask(attention_mask, attends, inputs_embeds.dtype),
        position_ids=torch.cat([positions_from_mask(attention_mask), label_positions], dim=1),
        logits_to_keep=len(input_ids) + 1,
    )
    # The prefix predicts each label's first token, and each input token the one after it.
    following = log_probabilities[:, 1:].gather(-1, next_ids.expand(batch_size, -1)[..., None])[..., 0]
    return log_probabilities[:, 0, first_ids].index_add(1, label_of, following), lengths


def supports_tree_attention(language_model: PreTrainedModel) -> bool:
    """
    Return whether a 4-D mask controls what each token attends to.

    It does not in layers that carry a state from token to token, nor with ALiBi, which derives its own mask.
    """
    config = language_model.config.get_text_config()
    other_layers = set(getattr(config, "layer_types", None) or ()) - _ATTENTION
    alibi = config.model_type in ("bloom", "mpt") or getattr(config, "alibi", False)
    return not (is_stateful(language_model) or other_layers or alibi)


def _score_alone(
    language_model: PreTrainedModel, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor, ids: Sequence[int]
) -> torch.Tensor:
    """Compute one label's log-probability after each prefix `(batch_size,)` in a pass of its own."""
    batch_size = len(attention_mask)
    tokens = torch.tensor(ids, device=inputs_embeds.device).expand(batch_size, -1)
    label = language_model.get_input_embeddings()(tokens[:, :-1]).to(inputs_embeds.dtype)
    mask = torch.cat([attention_mask, torch.ones_like(tokens[:, :-1])], dim=1)
    log_probabilities = _log_probabilities(
        language_model,
        tokens[0],
        inputs_embeds=torch.cat([inputs_embeds, label], dim=1),
        attention_mask=mask,
        position_ids=positions_from_mask(mask),
        logits_to_keep=len(ids),
    )
    return log_probabilities.gather(-1, tokens[..., None])[..., 0].sum(-1)


def _log_probabilities(
    language_model: PreTrainedModel, token_ids: torch.Tensor, logits_to_keep: int, **inputs: torch.Tensor
) -> torch.Tensor:
    """
    Compute log-probabilities at the last positions `(batch_size, logits_to_keep, vocab_size)`, in float32.

    In half precision a logit of 20 is rounded to a step of 0.125, which changes the labels' probabilities. The logits
    of the candidate tokens are therefore computed again in float32, from the last hidden states and their rows of the
    output embeddings.

    Args:
        token_ids: the candidate tokens `(num_tokens,)`, with or without repetition.
    """
    head = language_model.get_output_embeddings()
    refined = _can_refine(language_model, head)
    output = language_model(
        **inputs, use_cache=False, logits_to_keep=logits_to_keep, output_hidden_states=True if refined else None
    )
    logits = output.logits
    if refined:
        rounded = logits[..., token_ids].float()
        with torch.autocast(logits.device.type, enabled=False):
            states = output.hidden_states[-1][:, -logits_to_keep:].float()
            exact = torch.nn.functional.linear(states, head.weight[token_ids].float())
            exact = exact if head.bias is None else exact + head.bias[token_ids].float()
        # If the architecture changes its logits after the head in a way its configuration does not show, keep them.
        close = (exact - rounded).abs().max() <= 0.03 * (1 + rounded.abs().max())
        logits = logits.float().index_copy(-1, token_ids, torch.where(close, exact, rounded))
    return logits.log_softmax(-1, dtype=torch.float32)


def _can_refine(language_model: PreTrainedModel, head: torch.nn.Module | None) -> bool:
    """Return whether the logits come from a plain linear head in half precision."""
    # A quantized, packed or sharded head has another type.
    if type(head) is not torch.nn.Linear or type(head.weight) is not torch.nn.Parameter:
        return False
    config = language_model.config.get_text_config()
    rescaled = any(getattr(config, name, None) not in (None, 1, 1.0) for name in _RESCALED_LOGITS)
    halves = (torch.bfloat16, torch.float16)
    return not rescaled and (head.weight.dtype in halves or torch.is_autocast_enabled(head.weight.device.type))


def tree_mask(attention_mask: torch.Tensor, attends: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """
    Build the additive attention mask of `[prefix, labels]` `(batch_size, 1, length, length)`.

    It is causal over the prefix, whose padding is masked, and `attends` `(num_tokens, num_tokens)` over the labels.
    """
    prefix_length, num_tokens = attention_mask.shape[1], len(attends)
    causal = torch.ones(prefix_length + num_tokens, prefix_length, dtype=torch.bool, device=attention_mask.device)
    prefix = attention_mask.bool()[:, None] & causal.tril()
    # The prefix attends to no label. Not `pad`: older versions of PyTorch reject it for labels of one token.
    labels = torch.cat([attends.new_zeros(prefix_length, num_tokens), attends])
    visible = torch.cat([prefix, labels.expand(len(prefix), -1, -1)], dim=-1)
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


def positions_from_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """Return positions `(batch_size, length)` that count real tokens only."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
