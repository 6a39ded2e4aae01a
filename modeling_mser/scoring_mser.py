# SPDX-License-Identifier: Apache-2.0
"""All candidate words of a batch scored in one pass over one shared prefix."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel


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
        language_model: a causal language model that accepts 4-D masks (`sdpa` or `eager` attention).
        inputs_embeds: prefixes `(batch_size, prefix_length, hidden_size)`, padded on the left.
        attention_mask: `(batch_size, prefix_length)`.
        candidate_ids: token ids of each word, end of sequence included, so that a word may begin another.

    Returns:
        Sums of the tokens' log-probabilities `(batch_size, num_words)` in float32, and the words' lengths in tokens
        `(num_words,)`.
    """
    tree = CandidateTree.build(candidate_ids, inputs_embeds.device)
    batch_size = attention_mask.shape[0]
    position_ids = positions_from_mask(attention_mask)
    prefix = language_model(
        inputs_embeds=inputs_embeds,
        attention_mask=attention_mask,
        position_ids=position_ids,
        use_cache=True,
        logits_to_keep=1,
    )
    scores = prefix.logits[:, -1].float().log_softmax(-1)[:, tree.first_ids]
    if len(tree.input_ids) == 0:
        return scores, tree.lengths

    visible = torch.cat(
        [
            attention_mask.bool()[:, None].expand(-1, len(tree.input_ids), -1),
            tree.attends.expand(batch_size, -1, -1),
        ],
        dim=-1,
    )
    dtype = inputs_embeds.dtype
    additive_mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    additive_mask.masked_fill_(~visible, torch.finfo(dtype).min)
    logits = language_model(
        input_ids=tree.input_ids.expand(batch_size, -1),
        attention_mask=additive_mask[:, None],
        position_ids=attention_mask.sum(-1, keepdim=True) + tree.depths,
        past_key_values=prefix.past_key_values,
        use_cache=True,
    ).logits
    chosen = logits.gather(-1, tree.next_ids.expand(batch_size, -1)[..., None])[..., 0].float()
    log_probabilities = chosen - logits.float().logsumexp(-1)
    return scores.index_add(1, tree.word_of, log_probabilities), tree.lengths


def positions_from_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """Positions `(batch_size, length)` that count real tokens only, so that padding moves nothing."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


__all__ = ["score_candidates"]
