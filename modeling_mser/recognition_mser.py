# SPDX-License-Identifier: Apache-2.0
"""From the tensors of clips to probabilities of words, or to words written freely, and from windows to a recording."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch


MAX_NEW_TOKENS = 8


@torch.inference_mode()
def label_probabilities(
    model: Any, inputs: Mapping[str, torch.Tensor], candidate_ids: Sequence[Sequence[int]], **scoring: bool
) -> torch.Tensor:
    """
    Probability of each candidate word for each clip `(batch_size, num_words)`, float64 on the CPU.

    Args:
        model: `MSERForEmotionGeneration`.
        inputs: the processor's tensors, on the model's device.
        candidate_ids: as `MSERProcessor.candidate_ids` gives them.
        scoring: `length_normalize` and `prior_correction` of `score_emotions`.
    """
    return model.score_emotions(**inputs, candidate_ids=candidate_ids, **scoring).cpu().double().softmax(-1)


@torch.inference_mode()
def generate_texts(model: Any, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """
    What the model writes after each prompt, the likeliest token at each step, and how probable that text is.

    Returns:
        Token ids `(batch_size, num_new_tokens)` and the texts' probabilities `(batch_size,)` in float64, both on the
        CPU.
    """
    written = model.generate(
        **inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, output_logits=True, return_dict_in_generate=True
    )
    log_probabilities = torch.stack([step.double().log_softmax(-1) for step in written.logits], dim=1)
    chosen = log_probabilities.gather(-1, written.sequences[..., None])[..., 0]
    # What follows the end of a text is padding and not written.
    end = torch.as_tensor(model.generation_config.eos_token_id, device=chosen.device).reshape(-1)
    ended = torch.isin(written.sequences, end).cumsum(-1)
    before_or_at_end = ended - torch.isin(written.sequences, end).long() == 0
    return written.sequences.cpu(), (chosen * before_or_at_end).sum(-1).exp().cpu()


def mean_over_time(seconds: Sequence[float], probabilities: np.ndarray) -> np.ndarray:
    """Probabilities of a recording `(num_words,)` from those of its windows `(num_windows, num_words)`, by length."""
    durations = np.asarray(seconds)
    return durations @ probabilities / durations.sum()


def majority(seconds: Sequence[float], words: Sequence[str], none: str) -> str:
    """The word that was read out of most of a recording's time; `none` only where no window gave another."""
    votes: dict[str, float] = {}
    for duration, word in zip(seconds, words, strict=True):
        if word != none:
            votes[word] = votes.get(word, 0.0) + duration
    return max(votes, key=lambda word: votes[word]) if votes else none


__all__ = ["generate_texts", "label_probabilities", "majority", "mean_over_time"]
