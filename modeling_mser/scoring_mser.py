# SPDX-License-Identifier: Apache-2.0
"""All candidate words of a batch scored in the one pass that reads their shared prefix, where a mask can part them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel


# Layer types in a configuration of transformers that see what a mask says; no prompt fills a sliding window.
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


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
    if not parted_by_masks(language_model):
        scores = [_score_alone(language_model, inputs_embeds, attention_mask, ids) for ids in candidate_ids]
        return torch.stack(scores, dim=1), tree.lengths
    batch_size = len(attention_mask)
    words = language_model.get_input_embeddings()(tree.input_ids).to(inputs_embeds.dtype)
    word_positions = attention_mask.sum(-1, keepdim=True) + tree.depths
    logits = language_model(
        inputs_embeds=torch.cat([inputs_embeds, words.expand(batch_size, -1, -1)], dim=1),
        attention_mask=tree_mask(attention_mask, tree, inputs_embeds.dtype),
        position_ids=torch.cat([positions_from_mask(attention_mask), word_positions], dim=1),
        use_cache=False,
        logits_to_keep=len(tree.input_ids) + 1,
    ).logits
    log_probabilities = logits.log_softmax(-1, dtype=torch.float32)
    # The prefix predicts each word's first token, and a fed token the one after it.
    next_ids = tree.next_ids.expand(batch_size, -1)[..., None]
    following = log_probabilities[:, 1:].gather(-1, next_ids)[..., 0]
    return log_probabilities[:, 0, tree.first_ids].index_add(1, tree.word_of, following), tree.lengths


def parted_by_masks(language_model: PreTrainedModel) -> bool:
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
    logits = language_model(
        inputs_embeds=torch.cat([inputs_embeds, fed], dim=1),
        attention_mask=mask,
        position_ids=positions_from_mask(mask),
        use_cache=False,
        logits_to_keep=len(ids),
    ).logits
    return logits.log_softmax(-1, dtype=torch.float32).gather(-1, tokens[..., None])[..., 0].sum(-1)


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


__all__ = ["parted_by_masks", "score_candidates"]
