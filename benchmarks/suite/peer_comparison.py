# SPDX-License-Identifier: Apache-2.0
"""Compare the throughput of MSER with Qwen2-Audio and Granite Speech, by clip length and batch size."""

from collections.abc import Callable, Iterator

import torch

from benchmarks.suite.peers import granite_speech, qwen2_audio
from benchmarks.suite.rounds import Comparison, Work, alternate, clips_per_second
from benchmarks.suite.sizes import BenchmarkSizes
from benchmarks.suite.systems import OwnModel, System, own_system


# At the target length and batch size.
TARGETS = {"Qwen2-Audio": ">= 8", "Granite Speech": ">= 1"}


def against_peers(sizes: BenchmarkSizes, own: OwnModel, plain: OwnModel) -> Iterator[Comparison]:
    """
    For each length and batch size, compare MSER's scoring with the peer's `generate` and with its prefill alone.

    At the target size, MSER without packed weights is measured too.

    Args:
        sizes: of the models and of the measurements.
        own: MSER with packed weights.
        plain: MSER without packed weights.
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


__all__ = ["against_peers"]
