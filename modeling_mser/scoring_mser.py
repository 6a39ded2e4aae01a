# SPDX-License-Identifier: Apache-2.0
"""All candidate words of a batch scored in the one pass that reads their shared prefix, where a mask can part them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel


# Layer types in a configuration of transformers that see what a mask says; no prompt fills a sliding window.
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


# Settings by which an architecture changes its logits after the head.
_RESCALED_LOGITS = (
    "final_logit_softcapping",
    "logits_scaling",
    "logit_scale",
    "lm_head_multiplier",
    "output_multiplier",
)


@dataclass(frozen=True)
class CandidateTree:
    """
    The candidate words laid side by side behind one prefix, each word seeing the prefix and itself only.

    Attributes:
        input_ids: `(num_tokens,)`, every token but each word's last, which is predicted and never fed.
        depths: `(num_tokens,)`, a token's place within its word.
        attends: `(num_tokens, num_tokens)` bool, causal within a word and blind between words.
        first_ids: `(num_words,)`, the tokens that the prefix itself predicts.
        next_ids: `(num_tokens,)`, the token that each fed token must predict.
        word_of: `(num_tokens,)`, the word that a fed token belongs to.
        lengths: `(num_words,)`, tokens of each word, end of sequence included.
    """

    input_ids: torch.Tensor
    depths: torch.Tensor
    attends: torch.Tensor
    first_ids: torch.Tensor
    next_ids: torch.Tensor
    word_of: torch.Tensor
    lengths: torch.Tensor

    @classmethod
    def build(cls, candidate_ids: Sequence[Sequence[int]], device: torch.device) -> "CandidateTree":
        if not all(isinstance(ids, Sequence) and not isinstance(ids, str) for ids in candidate_ids):
            raise ValueError("candidate_ids is no list of lists of token ids; give processor.candidate_ids(words)")
        if not candidate_ids or any(len(ids) == 0 for ids in candidate_ids):
            raise ValueError("candidate_ids holds no word, or a word without tokens")

        def tensor(values: list[int]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        word_of = tensor([word for word, ids in enumerate(candidate_ids) for _ in ids[:-1]])
        depths = tensor([depth for ids in candidate_ids for depth in range(len(ids) - 1)])
        same_word = word_of[:, None] == word_of[None, :]
        return cls(
            input_ids=tensor([token for ids in candidate_ids for token in ids[:-1]]),
            depths=depths,
            attends=same_word & (depths[:, None] >= depths[None, :]),
            first_ids=tensor([ids[0] for ids in candidate_ids]),
            next_ids=tensor([token for ids in candidate_ids for token in ids[1:]]),
            word_of=word_of,
            lengths=tensor([len(ids) for ids in candidate_ids]),
        )


def score_candidates(
    language_model: PreTrainedModel,
    inputs_embeds: torch.Tensor,
    attention_mask: torch.Tensor,
    candidate_ids: Sequence[Sequence[int]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Log-probability of each candidate word after each prefix.

    Args:
        language_model: a causal language model (`sdpa` or `eager` attention). One with layers that no mask parts
            (recurrent, convolutional, ALiBi) reads prefix and word once for each word.
        inputs_embeds: prefixes `(batch_size, prefix_length, hidden_size)`, padded on the left.
        attention_mask: `(batch_size, prefix_length)`.
        candidate_ids: token ids of each word, end of sequence included, so that a word may begin another.

    Returns:
        Sums of the tokens' log-probabilities `(batch_size, num_words)` in float32, and the words' lengths in tokens
        `(num_words,)`.
    """
    tree = CandidateTree.build(candidate_ids, inputs_embeds.device)
    if not supports_tree_attention(language_model):
        scores = [_score_alone(language_model, inputs_embeds, attention_mask, ids) for ids in candidate_ids]
        return torch.stack(scores, dim=1), tree.lengths
    batch_size = len(attention_mask)
    words = language_model.get_input_embeddings()(tree.input_ids).to(inputs_embeds.dtype)
    word_positions = attention_mask.sum(-1, keepdim=True) + tree.depths
    log_probabilities = _log_probabilities(
        language_model,
        torch.cat([tree.first_ids, tree.next_ids]),
        inputs_embeds=torch.cat([inputs_embeds, words.expand(batch_size, -1, -1)], dim=1),
        attention_mask=tree_mask(attention_mask, tree, inputs_embeds.dtype),
        position_ids=torch.cat([positions_from_mask(attention_mask), word_positions], dim=1),
        logits_to_keep=len(tree.input_ids) + 1,
    )
    # The prefix predicts each word's first token, and a fed token the one after it.
    next_ids = tree.next_ids.expand(batch_size, -1)[..., None]
    following = log_probabilities[:, 1:].gather(-1, next_ids)[..., 0]
    return log_probabilities[:, 0, tree.first_ids].index_add(1, tree.word_of, following), tree.lengths


def supports_tree_attention(language_model: PreTrainedModel) -> bool:
    """
    Whether a 4-D mask decides what each token sees: not where a layer carries a state from token to token, and not
    where ALiBi derives distances from a mask of its own.
    """
    config = language_model.config.get_text_config()
    other_layers = set(getattr(config, "layer_types", None) or ()) - _ATTENTION
    alibi = config.model_type in ("bloom", "mpt") or getattr(config, "alibi", False)
    return not (language_model._is_stateful or other_layers or alibi)


def _score_alone(
    language_model: PreTrainedModel, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor, ids: Sequence[int]
) -> torch.Tensor:
    """One word's log-probability after each prefix `(batch_size,)` by a plain pass; arguments as above."""
    batch_size = len(attention_mask)
    tokens = torch.tensor(ids, device=inputs_embeds.device).expand(batch_size, -1)
    fed = language_model.get_input_embeddings()(tokens[:, :-1]).to(inputs_embeds.dtype)
    mask = torch.cat([attention_mask, torch.ones_like(tokens[:, :-1])], dim=1)
    log_probabilities = _log_probabilities(
        language_model,
        tokens[0],
        inputs_embeds=torch.cat([inputs_embeds, fed], dim=1),
        attention_mask=mask,
        position_ids=positions_from_mask(mask),
        logits_to_keep=len(ids),
    )
    return log_probabilities.gather(-1, tokens[..., None])[..., 0].sum(-1)


def _log_probabilities(
    language_model: PreTrainedModel, token_ids: torch.Tensor, logits_to_keep: int, **inputs: torch.Tensor
) -> torch.Tensor:
    """
    Log-probabilities of all tokens at the last positions `(batch_size, logits_to_keep, vocab_size)`, in float32.

    In half precision a logit of 20 is rounded to a step of 0.125, which moves the probabilities of the words. The
    logits of the candidate tokens are therefore computed again in float32, from the last hidden states and the few
    rows of the output embeddings that belong to them.

    Args:
        token_ids: the candidate tokens `(num_tokens,)`, repeated or not.
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
        # What an architecture does to its logits after the head, and its configuration does not show, is kept.
        close = (exact - rounded).abs().max() <= 0.03 * (1 + rounded.abs().max())
        logits = logits.float().index_copy(-1, token_ids, torch.where(close, exact, rounded))
    return logits.log_softmax(-1, dtype=torch.float32)


def _can_refine(language_model: PreTrainedModel, head: torch.nn.Module | None) -> bool:
    """Whether the logits are those of a plain linear head, computed in half precision."""
    # Not one that is quantized, packed or spread over processes.
    if type(head) is not torch.nn.Linear or type(head.weight) is not torch.nn.Parameter:
        return False
    config = language_model.config.get_text_config()
    rescaled = any(getattr(config, name, None) not in (None, 1, 1.0) for name in _RESCALED_LOGITS)
    halves = (torch.bfloat16, torch.float16)
    return not rescaled and (head.weight.dtype in halves or torch.is_autocast_enabled(head.weight.device.type))


def tree_mask(attention_mask: torch.Tensor, tree: CandidateTree, dtype: torch.dtype) -> torch.Tensor:
    """
    What each position of `[prefix, words]` sees, to be added to the attention's logits: `(batch_size, 1, length,
    length)`, causal over the prefix, whose padding is hidden, and `tree.attends` over the words.
    """
    prefix_length, num_tokens = attention_mask.shape[1], len(tree.input_ids)
    causal = torch.ones(prefix_length + num_tokens, prefix_length, dtype=torch.bool, device=attention_mask.device)
    prefix = attention_mask.bool()[:, None] & causal.tril()
    # The prefix sees no word. Not by `pad`: older versions of PyTorch refuse it where no token of a word is fed.
    words = torch.cat([tree.attends.new_zeros(prefix_length, num_tokens), tree.attends])
    visible = torch.cat([prefix, words.expand(len(prefix), -1, -1)], dim=-1)
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


def positions_from_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """Positions `(batch_size, length)` that count real tokens only, so that padding moves nothing."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


__all__ = ["score_candidates", "supports_tree_attention"]
