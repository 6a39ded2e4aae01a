# SPDX-License-Identifier: Apache-2.0
"""The compared systems: MSER, its naive implementation, and the interface of the other models."""

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
    A model and how it is used.

    Attributes:
        name: of the system.
        model: with random weights, in evaluation mode.
        encoder, language_model: its parts, to count their parameters.
        inputs: function of seconds and batch size that returns input tensors.
        predict: compute the prediction as the documentation of the system recommends.
        prefill: only the forward pass over the input with which the prediction starts.
    """

    name: str
    model: torch.nn.Module
    encoder: torch.nn.Module
    language_model: torch.nn.Module
    inputs: Callable[[float, int], Inputs]
    predict: Callable[[Inputs], Any]
    prefill: Callable[[Inputs], Any]


@dataclass(frozen=True)
class OwnModel:
    """MSER in the benchmark's size with random weights, and its processor."""

    model: MSERForEmotionGeneration
    processor: MSERProcessor

    def inputs(self, seconds: float, batch_size: int) -> Inputs:
        waveforms = noise(seconds, batch_size)
        return self.processor.extract_features(waveforms) | self.processor.encode_text(batch_size)

    def candidates(self, count: int) -> list[list[int]]:
        """Token ids of the first `count` labels: each is one token plus the end of the text."""
        return self.processor.candidate_ids(WORDS[:count])


def noise(seconds: float, count: int, seed: int = 0, sampling_rate: int = SAMPLING_RATE) -> list[np.ndarray]:
    """Mono waveforms of equal length, `(num_samples,)` float32."""
    random = np.random.default_rng(seed)
    return [0.1 * random.standard_normal(round(seconds * sampling_rate), dtype=np.float32) for _ in range(count)]


def text_config(sizes: BenchmarkSizes) -> LlamaConfig:
    """Configuration of the language model, the same for all systems; its output matrix is untied."""
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return LlamaConfig(**{**sizes.text, **special, "tie_word_embeddings": False})


def build_own_model(sizes: BenchmarkSizes, **changes: Any) -> OwnModel:
    """Build MSER; `changes` are arguments of `MSERConfig` that replace those of the sizes."""
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
    """The same model as `run-mser predict` loads it, with packed weights."""
    own = build_own_model(sizes)
    pack_linear_layers(own.model)
    return own


def num_answer_tokens(candidates: Sequence[Sequence[int]]) -> int:
    """The minimum number of new tokens that fits every label and its end."""
    return max(len(ids) for ids in candidates)


def generate(model: Any, inputs: Mapping[str, torch.Tensor], new_tokens: int, **kwargs: Any) -> torch.Tensor:
    """Generate exactly `new_tokens` tokens greedily; random weights would not stop by themselves."""
    return model.generate(
        **inputs, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, num_beams=1, **kwargs
    )


def own_system(sizes: BenchmarkSizes, own: OwnModel | None = None) -> System:
    """MSER as `run-mser predict` uses it: seven labels scored from one prefix, weights packed."""
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
    The same model implemented naively: 30 s of padding, `generate`, logits at every position, weights as
    `from_pretrained` returns them.
    """
    own = build_own_model(sizes) if own is None else own
    model = own.model
    new_tokens = num_answer_tokens(own.candidates(7))
    return replace(
        own_system(sizes, own),
        name="naive",
        inputs=padded_inputs(own),
        predict=lambda inputs: generate(model, inputs, new_tokens, logits_to_keep=0),
        prefill=lambda inputs: model(**inputs, use_cache=True),
    )


def padded_inputs(own: OwnModel) -> Callable[[float, int], Inputs]:
    """Inputs of stock Whisper: every clip is padded with silence to 30 s, and the padding is attended."""
    processor = own.processor
    stock = MSERProcessor(
        processor.feature_extractor, processor.tokenizer, num_query_tokens=processor.num_query_tokens, pad_to="30s"
    )
    return OwnModel(own.model, stock).inputs
