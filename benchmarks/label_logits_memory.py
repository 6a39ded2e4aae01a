# SPDX-License-Identifier: Apache-2.0
"""Compare the peak memory of a training step with logits only at the labels with logits at every position.

    python -m benchmarks.label_logits_memory
    python -m benchmarks.label_logits_memory --batch_size 32 --output runs/label_logits_memory.json

The language model has LLaMA 3's vocabulary and a small hidden size, so the logits dominate. The naive form passes the
labels to the language model, which computes its own loss. Each form runs in its own process, whose peak (VmHWM) is
reset before the step; the losses must be equal.
"""

import math
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.suite.memory import reset_peak, resident_mebibytes
from modeling_mser import MSERConfig, MSERForEmotionGeneration
from mser_llm.cli.dataclass_arguments import option
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.io.atomic_files import write_json


WIDTH = 64
"""Width of the encoder, which does not matter here."""


@dataclass
class MemoryArguments:
    vocabulary: int = option(128256, "Tokens of the language model.")
    hidden_size: int = option(64, "Hidden size of the language model.")
    batch_size: int = option(8, "Clips per batch.")
    text_length: int = option(48, "Tokens per row, audio included.")
    output: str | None = option(None, "JSON file for the results")


def benchmark(arguments: MemoryArguments) -> dict[str, Any]:
    """Measure peak bytes above the model, and the loss, of both forms; and the ratio of the peaks."""
    context = multiprocessing.get_context("spawn")
    results: dict[str, Any] = {}
    for form in ("at_labels", "naive"):
        with context.Pool(1) as pool:
            results[form] = pool.apply(_measured, (form, arguments))
    losses = [found["loss"] for found in results.values()]
    if not math.isclose(*losses, rel_tol=1e-4):
        raise ValueError(f"the two forms have the losses {losses[0]} and {losses[1]}; they compute different things")
    return results | {
        "ratio": results["at_labels"]["peak_bytes"] / results["naive"]["peak_bytes"],
        "arguments": asdict(arguments),
    }


def _measured(form: str, arguments: MemoryArguments) -> dict[str, float]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = _model(arguments)
    queries = model.config.num_query_tokens
    rows = torch.randint(10, arguments.vocabulary, (arguments.batch_size, arguments.text_length))
    rows[:, :queries] = model.config.audio_token_id
    labels = torch.full_like(rows, -100)
    labels[:, -2:] = rows[:, -2:]
    states = torch.randn(arguments.batch_size, 1, 150, WIDTH)
    # A short first step allocates what the libraries keep for themselves.
    model(input_ids=rows[:1], encoder_states=states[:1], labels=labels[:1]).loss.backward()
    model.zero_grad()
    reset_peak()
    before = resident_mebibytes("VmRSS")
    if form == "at_labels":
        loss = model(input_ids=rows, encoder_states=states, labels=labels).loss
    else:
        audio = model.get_audio_features(encoder_states=states)
        embeds = model.merge_audio(rows, audio.pooler_output)
        loss = model.language_model(inputs_embeds=embeds, labels=labels, use_cache=False).loss
    loss.backward()
    return {"peak_bytes": round((resident_mebibytes("VmHWM") - before) * 2**20), "loss": loss.item()}


def _model(arguments: MemoryArguments) -> MSERForEmotionGeneration:
    whisper = {"d_model": WIDTH, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    whisper |= {"decoder_layers": 1, "vocab_size": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = MSERConfig(
        audio_config=whisper | {"decoder_start_token_id": 1},
        qformer_config={"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
        text_config={
            "model_type": "llama",
            "vocab_size": arguments.vocabulary,
            "hidden_size": arguments.hidden_size,
            "intermediate_size": 2 * arguments.hidden_size,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        },
        num_query_tokens=8,
        audio_token_id=arguments.vocabulary + 1,
    )
    return MSERForEmotionGeneration(config).train()


def main(words: Sequence[str] | None = None) -> int:
    parser = MSERArgumentParser(MemoryArguments, description="Logits at label positions and logits everywhere.")
    (arguments,) = parser.parse_args_into_dataclasses(words)
    try:
        results = benchmark(arguments)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    size = f"{arguments.batch_size} x {arguments.text_length} tokens"
    print(
        f"vocabulary of {arguments.vocabulary:,} tokens, {size}, loss {results['at_labels']['loss']:.4f} in both forms"
    )
    print(f"logits at labels      {results['at_labels']['peak_bytes'] / 1e6:8.0f} MB above the model")
    print(f"logits everywhere     {results['naive']['peak_bytes'] / 1e6:8.0f} MB")
    print(f"ratio                 {results['ratio']:8.3f}")
    if arguments.output:
        write_json(arguments.output, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
