# SPDX-License-Identifier: Apache-2.0
"""Write a GGUF file of a tiny LLaMA in Q4_1, with a byte-level tokenizer."""

from pathlib import Path

import gguf
import numpy as np
from transformers.convert_slow_tokenizer import bytes_to_unicode


HIDDEN, LAYERS = 64, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h a", "s a"]


def write_tiny_gguf(
    path: Path, architecture: str = "llama", rope_factors: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """
    Write the file and return its weights by their names in GGUF, dequantized.

    Args:
        path: the file.
        architecture: as the file names it.
        rope_factors: divisors of the 16 rotary frequencies, as files of LLaMA 3.1 have them.
    """
    tokens = [*SPECIAL, *bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in MERGES)]
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_name("tiny")
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * HIDDEN)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // 2)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token in SPECIAL else normal for token in tokens])
    writer.add_token_merges(MERGES)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (len(tokens), HIDDEN), "output_norm": (HIDDEN,)}
    for layer in range(LAYERS):
        block = {
            "attn_q": (HIDDEN, HIDDEN),
            "attn_k": (HIDDEN // 2, HIDDEN),
            "attn_v": (HIDDEN // 2, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN),
            "ffn_gate": (2 * HIDDEN, HIDDEN),
            "ffn_up": (2 * HIDDEN, HIDDEN),
            "ffn_down": (HIDDEN, 2 * HIDDEN),
            "attn_norm": (HIDDEN,),
            "ffn_norm": (HIDDEN,),
        }
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    rng = np.random.default_rng(0)
    weights = {}
    quantization = gguf.GGMLQuantizationType.Q4_1
    for name, shape in shapes.items():
        values = rng.normal(0.0 if len(shape) == 2 else 1.0, 0.1, shape).astype(np.float32)
        if len(shape) == 2:
            blocks = gguf.quantize(values, quantization)
            writer.add_tensor(f"{name}.weight", blocks, raw_dtype=quantization)
            values = gguf.dequantize(blocks, quantization)
        else:
            writer.add_tensor(f"{name}.weight", values)
        weights[name] = values
    if rope_factors is not None:
        writer.add_tensor("rope_freqs.weight", rope_factors.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights
