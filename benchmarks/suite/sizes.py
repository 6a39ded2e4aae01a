# SPDX-License-Identifier: Apache-2.0
"""What the benchmark builds and how much of it it runs; everything has random weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


# So many words that none is a label set of a corpus: the cost of many candidates is what is asked. The first four and
# the first seven are the label sets `four` and `seven`.
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
        audio: of the Whisper encoder, as `WhisperConfig` names them; Qwen2-Audio's encoder takes the same.
        conformer: of Granite Speech's encoder, chosen for the same number of parameters.
        qformer: of the Emotion Q-Former, and of Granite Speech's projector.
        text: of the language model of all systems, a LLaMA.
        num_query_tokens: audio positions of MSER.
        fewer_query_tokens: of a second model, whose cost of candidate words is measured besides.
        seconds: lengths of clips at which systems are compared.
        target_seconds: the length at which everything else is measured.
        batch_sizes: at which systems are compared; the last is that of everything else.
        rounds: of a measurement; the first of one more warms up.
        slow_rounds: of one whose slower side takes many seconds.
        word_counts: candidate words of the comparison with one pass per word.
        epoch_clips: clips of an epoch.
        scaling_seconds, scaling_words, scaling_batches, scaling_clips: the points of the curves.
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


# Whisper base, the Q-Former of configs/paper, a LLaMA of 98 M parameters. Of a clip of 3 s Granite Speech makes 60
# audio positions and Qwen2-Audio 75: with 64 queries MSER is not faster for what it leaves out. Its default is 32.
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

# A few thousand weights: that the benchmark runs, not how fast anything is.
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
