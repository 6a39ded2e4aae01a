# SPDX-License-Identifier: Apache-2.0
"""Compare MSER with Qwen2-Audio, Granite Speech, its naive implementation and int8, and compare training steps."""

from collections.abc import Callable, Iterator, Mapping

import torch

from benchmarks.suite.peers import granite_speech, qwen2_audio
from benchmarks.suite.rounds import Comparison, Work, alternate, clips_per_second
from benchmarks.suite.sizes import WORDS, BenchmarkSizes
from benchmarks.suite.systems import (
    Inputs,
    OwnModel,
    System,
    build_own_model,
    generate,
    naive_system,
    num_answer_tokens,
    own_system,
    padded_inputs,
)
from mser_llm.inference.packing import pack_linear_layers
from mser_llm.inference.quantization import quantize_to_int8


# At the target length and batch size.
TARGETS = {"Qwen2-Audio": ">= 8", "Granite Speech": ">= 1"}


def against_peers(sizes: BenchmarkSizes, own: OwnModel, plain: OwnModel) -> Iterator[Comparison]:
    """
    For each length and batch size, compare MSER's scoring with the peer's `generate` and with its prefill alone.

    At the target size, MSER without packed weights is measured too.
    """
    ours, unpacked = own_system(sizes, own), own_system(sizes, plain)
    builds: tuple[Callable[[BenchmarkSizes], System], ...] = (qwen2_audio, granite_speech)
    for build in builds:
        peer = build(sizes)
        for seconds in sizes.seconds:
            for batch_size in sizes.batch_sizes:
                yield from _one_size(sizes, (ours, unpacked), peer, seconds, batch_size)


@torch.inference_mode()
def _one_size(
    sizes: BenchmarkSizes, systems: tuple[System, System], peer: System, seconds: float, batch_size: int
) -> Iterator[Comparison]:
    ours, unpacked = systems
    own_inputs, peer_inputs = ours.inputs(seconds, batch_size), peer.inputs(seconds, batch_size)
    place = f"{seconds:g} s, batch {batch_size}"
    at_target = (seconds, batch_size) == (sizes.target_seconds, sizes.batch_size)
    works: dict[str, Work] = {
        "ours": lambda: ours.predict(own_inputs),
        "generate": lambda: peer.predict(peer_inputs),
        "prefill": lambda: peer.prefill(peer_inputs),
    }
    if at_target:
        works["unpacked"] = lambda: unpacked.predict(own_inputs)
    taken = alternate(
        works,
        sizes.slow_rounds,
        f"{peer.name}, {place}",
        warm_up=batch_size == sizes.batch_sizes[0],
    )
    target = TARGETS[peer.name] if at_target else ""
    yield clips_per_second(f"{peer.name}, {place}", batch_size, taken["ours"], taken["generate"], target)
    yield clips_per_second(f"{peer.name}, prefill only, {place}", batch_size, taken["ours"], taken["prefill"])
    if at_target:
        name = f"{peer.name}, MSER with unpacked weights, {place}"
        yield clips_per_second(name, batch_size, taken["unpacked"], taken["generate"])


@torch.inference_mode()
def against_naive(sizes: BenchmarkSizes, own: OwnModel, plain: OwnModel) -> Iterator[Comparison]:
    """
    Measure 30 s of padding, unpacked weights, `generate` instead of scoring, and logits at every position: together,
    then one at a time.
    """
    ours, naive = own_system(sizes, own), naive_system(sizes, plain)
    batch_size, seconds = sizes.batch_size, sizes.target_seconds
    inputs, padded = ours.inputs(seconds, batch_size), naive.inputs(seconds, batch_size)
    new_tokens = num_answer_tokens(own.candidates(7))
    variants: dict[str, Work] = {
        "all": lambda: naive.predict(padded),
        "only 30 s padding": lambda: ours.predict(padded),
        "only unpacked weights": lambda: own_system(sizes, plain).predict(inputs),
        "only generate": lambda: generate(own.model, inputs, new_tokens),
        "generate with all logits": lambda: generate(own.model, inputs, new_tokens, logits_to_keep=0),
    }
    taken = alternate({"ours": lambda: ours.predict(inputs), **variants}, sizes.slow_rounds, "Naive implementation")
    for variant in variants:
        target = ">= 8" if variant == "all" else ""
        name = f"naive implementation, {variant}, {seconds:g} s, batch {batch_size}"
        yield clips_per_second(name, batch_size, taken["ours"], taken[variant], target)


@torch.inference_mode()
def int8(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Comparison]:
    """Compare `load_model(..., quantize="int8")` with `load_model(...)`."""
    quantized = build_own_model(sizes)
    quantize_to_int8(quantized.model)
    pack_linear_layers(quantized.model)
    inputs = own.inputs(sizes.target_seconds, sizes.batch_size)
    full, int8_system = own_system(sizes, own), own_system(sizes, quantized)
    taken = alternate(
        {"int8": lambda: int8_system.predict(inputs), "float32": lambda: full.predict(inputs)}, sizes.rounds, "int8"
    )
    place = f"{sizes.target_seconds:g} s, batch {sizes.batch_size}"
    yield clips_per_second(f"int8 compared with float32, {place}", sizes.batch_size, taken["int8"], taken["float32"])


IGNORED = -100


def training_step(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Comparison]:
    """
    Measure forward, backward and optimizer step with frozen backbones: cached encoder states and logits only at the
    labels, against the encoder in the step on 30 s of padding and logits at every position.
    """
    model, batch_size = own.model, sizes.batch_size
    text = own.processor.encode_text(batch_size, [WORDS[row % 7] for row in range(batch_size)])
    features = own.inputs(sizes.target_seconds, batch_size)
    with torch.no_grad():
        states, mask = model.encode_audio(features["input_features"], features["input_features_mask"])
    assert mask is not None, "a mask was given"
    padded = padded_inputs(own)(sizes.target_seconds, batch_size)
    padded = {name: padded[name] for name in ("input_features", "input_features_mask")}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # A learning rate of zero costs the same and leaves the model unchanged for the following comparisons.
    optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=0.0, fused=True)

    def step(loss: torch.Tensor) -> None:
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    model.train()
    try:
        taken = alternate(
            {
                "ours": lambda: step(model(**text, encoder_states=states, encoder_mask=mask).loss),
                "naive": lambda: step(naive_loss(own, text, padded)),
            },
            sizes.slow_rounds,
            "Training step",
        )
    finally:
        model.eval()
    name = f"training step, {sizes.target_seconds:g} s, batch {batch_size}"
    yield Comparison(name, taken["ours"], taken["naive"], "s per step", "less")


def naive_loss(own: OwnModel, text: Inputs, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The language-model loss from logits at every position, with the encoder run on the features."""
    inputs = {name: tensor for name, tensor in text.items() if name != "labels"}
    logits = own.model(**inputs, **features).logits.float()
    targets = text["labels"][:, 1:]
    return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), targets, ignore_index=IGNORED)
