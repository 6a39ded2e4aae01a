# SPDX-License-Identifier: Apache-2.0
"""Score candidate labels, generate texts, and combine the windows of a recording."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch


@torch.inference_mode()
def label_probabilities(
    model: Any, inputs: Mapping[str, torch.Tensor], candidate_ids: Sequence[Sequence[int]], **scoring: bool
) -> torch.Tensor:
    """
    Compute the probability of each candidate label for each clip; arguments as in `score_emotions`.

    Returns:
        `(batch_size, num_labels)`, float64 on the CPU.
    """
    return model.score_emotions(**inputs, candidate_ids=candidate_ids, **scoring).cpu().double().softmax(-1)


@torch.inference_mode()
def generate_texts(model: Any, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Generate a text after each prompt, greedily.

    Returns:
        Token ids `(batch_size, num_new_tokens)` and probabilities `(batch_size,)` in float64, on the CPU.
    """
    generated = model.generate(
        **inputs, max_new_tokens=8, do_sample=False, output_logits=True, return_dict_in_generate=True
    )
    log_probabilities = torch.stack([step.double().log_softmax(-1) for step in generated.logits], dim=1)
    chosen = log_probabilities.gather(-1, generated.sequences[..., None])[..., 0]
    # After the end of a text comes padding, which does not count.
    end = torch.as_tensor(model.generation_config.eos_token_id, device=chosen.device).reshape(-1)
    is_end = torch.isin(generated.sequences, end).long()
    before_or_at_end = is_end.cumsum(-1) - is_end == 0
    return generated.sequences.cpu(), (chosen * before_or_at_end).sum(-1).exp().cpu()


def mean_over_time(seconds: Sequence[float], probabilities: np.ndarray) -> np.ndarray:
    """Average probabilities of windows `(num_windows, num_labels)` by duration, to `(num_labels,)`."""
    durations = np.asarray(seconds)
    return durations @ probabilities / durations.sum()


def majority(seconds: Sequence[float], labels: Sequence[str], none: str) -> str:
    """Return the label of most of a recording's time, ignoring windows labeled `none` unless all are."""
    votes: dict[str, float] = {}
    for duration, label in zip(seconds, labels, strict=True):
        if label != none:
            votes[label] = votes.get(label, 0.0) + duration
    return max(votes, key=lambda label: votes[label]) if votes else none
