# SPDX-License-Identifier: Apache-2.0
"""What is compared: MSER, its naive form, and the builds of two models that a user would otherwise take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, WhisperConfig, WhisperFeatureExtractor

from benchmarks.suite.sizes import WORDS, BenchmarkSizes
from modeling_mser import MSERConfig, MSERForEmotionGeneration
from mser_llm.inference.packing import pack_linear_layers
from mser_llm.inference.tokenizer import build_tokenizer
from processing_mser import SAMPLING_RATE, MSERProcessor


Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class System:
    """
    A model as it is used.

    Attributes:
        name: of the system.
        model: with random weights, in evaluation mode.
        encoder, language_model: its parts, for their parameters to be counted.
        inputs: tensors for clips of so many seconds, so many of them.
        answer: tensors in, the answer out, as the system's documentation says.
        prefill: the one pass over the input that an answer begins with, and no more.
    """

    name: str
    model: torch.nn.Module
    encoder: torch.nn.Module
    language_model: torch.nn.Module
    inputs: Callable[[float, int], Inputs]
    answer: Callable[[Inputs], Any]
    prefill: Callable[[Inputs], Any]


@dataclass(frozen=True)
class OwnModel:
    """MSER of the benchmark's sizes with random weights, its processor, and what makes inputs for it."""

    model: MSERForEmotionGeneration
    processor: MSERProcessor

    def inputs(self, seconds: float, batch_size: int) -> Inputs:
        waveforms = noise(seconds, batch_size)
        return self.processor.extract_features(waveforms) | self.processor.encode_text(batch_size)

    def candidates(self, count: int) -> list[list[int]]:
        """Token ids of the first so many words: each is one token and the end of the text."""
        return self.processor.candidate_ids(WORDS[:count])


def noise(seconds: float, count: int, seed: int = 0, sampling_rate: int = SAMPLING_RATE) -> list[np.ndarray]:
    """Mono waveforms `(num_samples,)` float32 of one length."""
    random = np.random.default_rng(seed)
    return [0.1 * random.standard_normal(round(seconds * sampling_rate), dtype=np.float32) for _ in range(count)]


def text_config(sizes: BenchmarkSizes) -> LlamaConfig:
    """The language model's, the same for all systems; its head is a matrix of its own."""
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return LlamaConfig(**{**sizes.text, **special, "tie_word_embeddings": False})


def build_own_model(sizes: BenchmarkSizes, **changes: Any) -> OwnModel:
    """
    Args:
        sizes: of the model.
        changes: arguments of `MSERConfig` in the place of those.
    """
    torch.manual_seed(0)
    tokenizer = build_tokenizer(WORDS)
    audio = WhisperConfig(**sizes.audio)
    extractor = WhisperFeatureExtractor(feature_size=audio.num_mel_bins)
    processor = MSERProcessor(extractor, tokenizer, num_query_tokens=sizes.num_query_tokens)
    config: dict[str, Any] = {
        "audio_config": audio,
        "qformer_config": {"model_type": "blip_2_qformer", **sizes.qformer},
        "text_config": text_config(sizes),
        "num_query_tokens": sizes.num_query_tokens,
        "audio_token_id": processor.audio_token_id,
    }
    model = MSERForEmotionGeneration(MSERConfig(**(config | changes))).eval()
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config.update(**ids)
    return OwnModel(model, processor)


def build_packed_model(sizes: BenchmarkSizes) -> OwnModel:
    """The same model as `run-mser predict` loads it: for recognition alone, with its weights packed."""
    own = build_own_model(sizes)
    pack_linear_layers(own.model)
    return own


def answer_tokens(candidates: Sequence[Sequence[int]]) -> int:
    """The fewest new tokens that hold any of the answers: the longest word and the end of it."""
    return max(len(ids) for ids in candidates)


def generated(model: Any, inputs: Mapping[str, torch.Tensor], new_tokens: int, **kwargs: Any) -> torch.Tensor:
    """Exactly so many new tokens, the likeliest at each step: random weights know no end."""
    return model.generate(
        **inputs, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, num_beams=1, **kwargs
    )


def own_system(sizes: BenchmarkSizes, own: OwnModel | None = None) -> System:
    """MSER as `run-mser predict` uses it: seven words scored from one prefix, weights packed."""
    own = build_packed_model(sizes) if own is None else own
    model = own.model
    words = own.candidates(7)
    return System(
        "MSER",
        model,
        model.audio_tower,
        model.language_model,
        own.inputs,
        lambda inputs: model.score_emotions(**inputs, candidate_ids=words),
        lambda inputs: model(**inputs, logits_to_keep=1, use_cache=True),
    )


def naive_system(sizes: BenchmarkSizes, own: OwnModel | None = None) -> System:
    """
    The same model as it is written down first: 30 s of padding, `generate`, logits at every position, weights as
    `from_pretrained` leaves them.
    """
    own = build_own_model(sizes) if own is None else own
    model = own.model
    new_tokens = answer_tokens(own.candidates(7))
    return replace(
        own_system(sizes, own),
        name="naive",
        inputs=padded_inputs(own),
        answer=lambda inputs: generated(model, inputs, new_tokens, logits_to_keep=0),
        prefill=lambda inputs: model(**inputs, use_cache=True),
    )


def padded_inputs(own: OwnModel) -> Callable[[float, int], Inputs]:
    """Inputs as stock Whisper takes them, every clip padded with silence to 30 s and the padding attended."""
    processor = own.processor
    stock = MSERProcessor(
        processor.feature_extractor, processor.tokenizer, num_query_tokens=processor.num_query_tokens, pad_to="30s"
    )
    return OwnModel(own.model, stock).inputs


__all__ = [
    "Inputs",
    "OwnModel",
    "System",
    "answer_tokens",
    "build_own_model",
    "build_packed_model",
    "generated",
    "naive_system",
    "noise",
    "own_system",
    "padded_inputs",
    "text_config",
]
