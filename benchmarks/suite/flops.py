# SPDX-License-Identifier: Apache-2.0
"""Count the floating-point operations that recognition needs for the clip's own seconds and the scored labels.

A multiplication and an addition count as two. Matrix products and convolutions are counted; norms, activations and
softmax are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.suite.systems import OwnModel


FRAMES_PER_SECOND = 100


@dataclass(frozen=True)
class MatrixShape:
    """`count` products of `(rows, inner)` and `(inner, columns)`."""

    rows: int
    inner: int
    columns: int
    count: int

    @property
    def flops(self) -> float:
        return 2.0 * self.rows * self.inner * self.columns * self.count


def encoder_frames(seconds: float) -> int:
    """Number of output frames of the encoder."""
    return (round(seconds * FRAMES_PER_SECOND) + 1) // 2


def weight_shapes(
    own: OwnModel, seconds: float, batch_size: int, candidates: Sequence[Sequence[int]]
) -> list[MatrixShape]:
    """Matrix products with weights in the encoder and the language model, with all rows of a batch together."""
    audio, text = own.model.config.audio_config, own.model.config.text_config
    frames = batch_size * encoder_frames(seconds)
    depth = max(own.model.config.used_encoder_layers)
    heads = text.num_attention_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    prefix, fed = _tokens(own, candidates)
    rows, layers = batch_size * (prefix + fed), text.num_hidden_layers
    return [
        MatrixShape(2 * frames, 3 * audio.num_mel_bins, audio.d_model, 1),
        MatrixShape(frames, 3 * audio.d_model, audio.d_model, 1),
        MatrixShape(frames, audio.d_model, audio.d_model, 4 * depth),
        MatrixShape(frames, audio.d_model, audio.encoder_ffn_dim, depth),
        MatrixShape(frames, audio.encoder_ffn_dim, audio.d_model, depth),
        MatrixShape(rows, text.hidden_size, heads * head_size, 2 * layers),
        MatrixShape(rows, text.hidden_size, text.num_key_value_heads * head_size, 2 * layers),
        MatrixShape(rows, text.hidden_size, text.intermediate_size, 2 * layers),
        MatrixShape(rows, text.intermediate_size, text.hidden_size, layers),
        MatrixShape(batch_size * (1 + fed), text.hidden_size, text.vocab_size, 1),
    ]


def recognition_flops(own: OwnModel, seconds: float, candidates: Sequence[Sequence[int]]) -> dict[str, float]:
    """Count the operations for one clip by part of the model; all but the last token of a label are inputs."""
    config = own.model.config
    audio, qformer, text = config.audio_config, config.qformer_config, config.text_config
    shapes = weight_shapes(own, seconds, 1, candidates)
    frames, depth = encoder_frames(seconds), max(config.used_encoder_layers)
    encoder = sum(shape.flops for shape in shapes[:5]) + 4.0 * frames**2 * audio.d_model * depth

    # A prefix token attends to half of the prefix on average, a label token to the whole prefix.
    prefix, fed = _tokens(own, candidates)
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    width = text.num_attention_heads * head_size
    seen = prefix * (prefix + 1) / 2 + fed * (prefix + 1)
    language_model = sum(shape.flops for shape in shapes[5:]) + 4.0 * seen * width * text.num_hidden_layers

    queries, size, layers = config.num_query_tokens, qformer.hidden_size, qformer.num_hidden_layers
    crossing = len(range(0, layers, qformer.cross_attention_frequency))
    own_attention = 8.0 * queries * size**2 + 4.0 * queries**2 * size
    crosswise = 4.0 * queries * size**2 + 4.0 * frames * audio.d_model * size + 4.0 * queries * frames * size
    feed_forward = 4.0 * queries * size * qformer.intermediate_size
    projection = 2.0 * queries * size * text.hidden_size
    bridge = layers * (own_attention + feed_forward) + crossing * crosswise + projection
    return {"encoder": encoder, "qformer": bridge, "language_model": language_model}


def _tokens(own: OwnModel, candidates: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Number of prefix tokens, and of label tokens that are inputs."""
    return own.processor.encode_text(1)["input_ids"].shape[1], sum(len(ids) - 1 for ids in candidates)
