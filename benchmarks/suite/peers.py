# SPDX-License-Identifier: Apache-2.0
"""Build Qwen2-Audio and Granite Speech with transformers, in the size of MSER.

Their encoders have as many parameters as MSER's, their language models are the same, and weights are random. Each gets
the tensors that its own processor creates: Qwen2-Audio pads to 30 s and has one token per 40 ms of the clip; Granite
Speech pads to the longest clip and has three tokens per 15 frames.
"""

import math
from typing import Any

import torch
from transformers import (
    GraniteSpeechConfig,
    GraniteSpeechForConditionalGeneration,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
)

from benchmarks.suite.sizes import WORDS, BenchmarkSizes
from benchmarks.suite.systems import Inputs, System, generate, num_answer_tokens, text_config
from mser_llm.inference.tokenizer import build_tokenizer
from processing_mser import PROMPTS


NUM_MEL_BINS = 80
FRAMES_PER_SECOND = 100
WHISPER_FRAMES = 3000
# Granite Speech's projector turns 15 encoder frames into three tokens.
WINDOW_FRAMES, WINDOW_TOKENS = 15, 3


class Prompt:
    """MSER's prompt in the tokens of the benchmark, with an audio placeholder outside the vocabulary."""

    def __init__(self) -> None:
        tokenizer = build_tokenizer(WORDS)
        self.question: list[int] = tokenizer.encode(PROMPTS["v1"], add_special_tokens=False)
        self.bos: int = tokenizer.bos_token_id
        self.audio: int = len(tokenizer)
        self.around: tuple[int, int] = (len(tokenizer) + 1, len(tokenizer) + 2)
        self.new_tokens = num_answer_tokens(
            [[*tokenizer.encode(f" {word}", add_special_tokens=False), tokenizer.eos_token_id] for word in WORDS[:7]]
        )

    def tensors(self, ids: list[int], batch_size: int) -> Inputs:
        input_ids = torch.tensor([ids] * batch_size)
        return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}


def qwen2_audio(sizes: BenchmarkSizes) -> System:
    """Qwen2-Audio: `<|audio_bos|><|AUDIO|>...<|audio_eos|>` and the prompt, then `generate`."""
    torch.manual_seed(0)
    prompt = Prompt()
    config = Qwen2AudioConfig(
        audio_config={"model_type": "qwen2_audio_encoder", "num_mel_bins": NUM_MEL_BINS, **sizes.audio},
        text_config=text_config(sizes),
        audio_token_index=prompt.audio,
    )
    model = Qwen2AudioForConditionalGeneration(config).eval()

    def inputs(seconds: float, batch_size: int) -> Inputs:
        frames = round(seconds * FRAMES_PER_SECOND)
        tokens = (((frames - 1) // 2 + 1) - 2) // 2 + 1  # as in Qwen2AudioProcessor
        start, end = prompt.around
        mask = torch.zeros(batch_size, WHISPER_FRAMES, dtype=torch.long)
        mask[:, :frames] = 1
        return {
            **prompt.tensors([start, *[prompt.audio] * tokens, end, *prompt.question], batch_size),
            "input_features": torch.randn(batch_size, NUM_MEL_BINS, WHISPER_FRAMES),
            "feature_attention_mask": mask,
        }

    return System(
        "Qwen2-Audio",
        model,
        model.model.audio_tower,
        torch.nn.ModuleList([model.model.language_model, model.lm_head]),
        inputs,
        lambda given: generate(model, given, prompt.new_tokens),
        lambda given: model(**given, use_cache=True),
    )


def granite_speech(sizes: BenchmarkSizes) -> System:
    """Granite Speech: the audio tokens and the prompt, then `generate`."""
    torch.manual_seed(0)
    prompt = Prompt()
    # The encoder's intermediate CTC head is not used for predictions; it keeps its published size.
    encoder: dict[str, Any] = {"input_dim": 2 * NUM_MEL_BINS, **sizes.conformer}
    config = GraniteSpeechConfig(
        text_config=text_config(sizes),
        encoder_config=encoder,
        projector_config={
            "model_type": "blip_2_qformer",
            **sizes.qformer,
            "encoder_hidden_size": sizes.conformer["hidden_dim"],
        },
        audio_token_index=prompt.audio,
        has_lora_adapter=False,
        tie_word_embeddings=False,
    )
    model = GraniteSpeechForConditionalGeneration(config).eval()

    def inputs(seconds: float, batch_size: int) -> Inputs:
        frames = round(seconds * FRAMES_PER_SECOND) // 2
        tokens = math.ceil(frames / WINDOW_FRAMES) * WINDOW_TOKENS
        return {
            **prompt.tensors([prompt.bos, *[prompt.audio] * tokens, *prompt.question], batch_size),
            "input_features": torch.randn(batch_size, frames, 2 * NUM_MEL_BINS),
            "input_features_mask": torch.ones(batch_size, tokens, dtype=torch.bool),
        }

    return System(
        "Granite Speech",
        model,
        model.model.encoder,
        torch.nn.ModuleList([model.model.language_model, model.lm_head]),
        inputs,
        lambda given: generate(model, given, prompt.new_tokens),
        lambda given: model(**given, logits_to_keep=1, use_cache=True),
    )
