# SPDX-License-Identifier: Apache-2.0
"""Measure the paper's model on an accelerator, with random weights in bfloat16: tokens/s, share of peak, memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from transformers import WhisperConfig, WhisperFeatureExtractor

from benchmarks.suite.flops import recognition_flops, weight_shapes
from benchmarks.suite.rounds import Comparison, alternate
from benchmarks.suite.sizes import WORDS
from benchmarks.suite.systems import OwnModel
from modeling_mser import MSERForEmotionGeneration
from mser_llm.inference.tokenizer import build_tokenizer
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.model_building import build_config
from processing_mser import MSERProcessor


DTYPE = torch.bfloat16


def build_paper_model(arguments: ModelArguments, device: str) -> OwnModel:
    """Build the model of a recipe from its sub-configurations, without downloading anything."""
    tokenizer = build_tokenizer(WORDS)
    alone = replace(arguments, audio_backbone=None, text_backbone=None, qformer_backbone=None)
    config = build_config(alone)
    config.audio_token_id = tokenizer.convert_tokens_to_ids("<|audio|>")
    audio: Any = config.audio_config
    assert isinstance(audio, WhisperConfig)
    with torch.device(device):
        model = MSERForEmotionGeneration._from_config(config, dtype=DTYPE).eval()
    extractor = WhisperFeatureExtractor(feature_size=audio.num_mel_bins)
    return OwnModel(model, MSERProcessor(extractor, tokenizer, num_query_tokens=config.num_query_tokens))


def paper_size(
    arguments: ModelArguments,
    device: str,
    seconds: float = 3.0,
    batch_size: int = 32,
    rounds: int = 5,
    square: int = 8192,
) -> Iterator[Comparison]:
    """Compare recognition, and a training step through the frozen language model, with products of square matrices."""
    torch.manual_seed(0)
    own = build_paper_model(arguments, device)
    model = own.model
    words = own.candidates(7)
    inputs = {name: tensor.to(device) for name, tensor in own.inputs(seconds, batch_size).items()}
    answers = [WORDS[row % 7] for row in range(batch_size)]
    text = {name: tensor.to(device) for name, tensor in own.processor.encode_text(batch_size, answers).items()}
    with torch.inference_mode():
        states, mask = model.encode_audio(inputs["input_features"], inputs["input_features_mask"])
    states = states.clone()  # a tensor of inference mode cannot be saved for the backward pass
    matrix = torch.randn(square, square, device=device, dtype=DTYPE)

    @torch.inference_mode()
    def recognize() -> None:
        model.score_emotions(**inputs, candidate_ids=words)

    def step() -> None:
        with torch.autocast(torch.device(device).type, DTYPE):
            loss = model(**text, encoder_states=states, encoder_mask=mask).loss
        loss.backward()
        model.zero_grad()

    works = {"recognition": recognize, "training": step, "products": lambda: matrix @ matrix}
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = alternate({name: _finished(work, device) for name, work in works.items()}, rounds, "Paper-size model")
    rate = [2.0 * square**3 / seconds_ for seconds_ in taken["products"]]
    needed = batch_size * sum(recognition_flops(own, seconds, words).values())
    yield Comparison(
        f"paper size, recognition, share of matrix products, {seconds:g} s, batch {batch_size}",
        [needed / seconds_ / 1e12 for seconds_ in taken["recognition"]],
        [each / 1e12 for each in rate],
        "TFLOP/s",
        "share",
    )
    # Forward, and backward to the activations: the frozen weights get no gradient.
    tokens = text["input_ids"].numel()
    layers = sum(shape.flops for shape in weight_shapes(own, seconds, 1, [[0]])[5:9])
    prefix = own.processor.encode_text(1)["input_ids"].shape[1]
    per_token = 2 * layers / prefix
    yield Comparison(
        f"paper size, training through the frozen language model, {seconds:g} s, batch {batch_size}",
        [tokens / seconds_ for seconds_ in taken["training"]],
        [each / per_token for each in rate],
        "tokens/s",
        "share",
        ">= 0.5",
    )
    if device == "cuda":
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        peak = torch.cuda.max_memory_allocated()
        yield Comparison(
            "paper size, share of the weights in peak memory", [weights / 2**20], [peak / 2**20], "MiB", "share"
        )


def _finished(work: Callable[[], Any], device: str) -> Callable[[], None]:
    """The function, including the work that it queued on the device."""

    def run() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    return run
