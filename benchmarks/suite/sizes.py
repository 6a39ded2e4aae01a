# SPDX-License-Identifier: Apache-2.0
"""Sizes of the models and of the measurements; all weights are random."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


# Fifty candidate labels, to measure the cost of many. The first four and seven are the label sets `four` and `seven`.
WORDS = (
    "neutral", "happy", "sad", "angry", "surprise", "disgust", "fear", "calm", "excited", "frustrated", "contempt",
    "boredom", "amused", "anxious", "ashamed", "bitter", "bored", "cheerful", "confused", "content", "curious",
    "delighted", "desperate", "disappointed", "eager", "embarrassed", "envious", "furious", "gloomy", "grateful",
    "guilty", "hopeful", "hurt", "impatient", "indifferent", "irritated", "jealous", "lonely", "loving", "mocking",
    "moved", "nervous", "nostalgic", "pensive", "proud", "relieved", "resigned", "shy", "tender", "tired",
)  # fmt: skip


@dataclass(frozen=True)
class BenchmarkSizes:
    """
    Attributes:
        audio: of the Whisper encoder, with the names of `WhisperConfig`; Qwen2-Audio's encoder has the same.
        conformer: of Granite Speech's encoder, chosen for the same number of parameters.
        qformer: of the Emotion Q-Former, and of Granite Speech's projector.
        text: of the language model of all systems, a LLaMA.
        num_query_tokens: audio positions of MSER.
        fewer_query_tokens: of a second model, to measure the cost of candidate labels again.
        seconds: clip lengths at which systems are compared.
        target_seconds: clip length of all other measurements.
        batch_sizes: at which systems are compared; the last one is used for all other measurements.
        rounds: of a measurement, after one warm-up round.
        slow_rounds: of a measurement whose slower side takes many seconds.
        word_counts: numbers of labels in the comparison with one pass per label.
        epoch_clips: clips of an epoch.
        scaling_seconds, scaling_words, scaling_batches, scaling_clips: points of the curves.
    """

    audio: Mapping[str, Any]
    conformer: Mapping[str, Any]
    qformer: Mapping[str, Any]
    text: Mapping[str, Any]
    num_query_tokens: int
    fewer_query_tokens: int
    seconds: tuple[float, ...]
    target_seconds: float
    batch_sizes: tuple[int, ...]
    rounds: int
    slow_rounds: int
    word_counts: tuple[int, ...]
    epoch_clips: int
    scaling_seconds: tuple[float, ...]
    scaling_words: tuple[int, ...]
    scaling_batches: tuple[int, ...]
    scaling_clips: tuple[int, ...]

    @property
    def batch_size(self) -> int:
        return self.batch_sizes[-1]


# Whisper base, the Q-Former of configs/paper, a LLaMA of 98 M parameters. A clip of 3 s is 60 audio positions in
# Granite Speech and 75 in Qwen2-Audio, so MSER gets 64 queries for a fair comparison; its default is 32.
FULL = BenchmarkSizes(
    audio={"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048},
    conformer={"hidden_dim": 512, "num_layers": 3, "num_heads": 8},
    qformer={
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "cross_attention_frequency": 2,
    },
    text={
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "vocab_size": 8192,
    },
    num_query_tokens=64,
    fewer_query_tokens=32,
    seconds=(2.0, 3.0, 4.0, 10.0, 30.0),
    target_seconds=3.0,
    batch_sizes=(1, 16),
    rounds=5,
    slow_rounds=3,
    word_counts=(4, 7, 50),
    epoch_clips=128,
    scaling_seconds=(1.0, 2.0, 4.0, 8.0, 16.0, 30.0),
    scaling_words=(1, 4, 7, 15, 25, 50),
    scaling_batches=(1, 2, 4, 8, 16, 32),
    scaling_clips=(16, 32, 64, 128),
)

# A few thousand weights: tests that the benchmark runs; the speeds mean nothing.
QUICK = BenchmarkSizes(
    audio={"d_model": 64, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 128},
    conformer={"hidden_dim": 78, "num_layers": 1, "num_heads": 2},
    qformer={
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "cross_attention_frequency": 2,
    },
    text={
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 1100,
    },
    num_query_tokens=8,
    fewer_query_tokens=4,
    seconds=(1.0, 2.0),
    target_seconds=1.0,
    batch_sizes=(1, 2),
    rounds=2,
    slow_rounds=1,
    word_counts=(4, 7, 50),
    epoch_clips=4,
    scaling_seconds=(1.0, 2.0, 4.0),
    scaling_words=(1, 7, 50),
    scaling_batches=(1, 2, 4),
    scaling_clips=(2, 4, 8),
)
