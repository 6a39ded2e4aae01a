# SPDX-License-Identifier: Apache-2.0
"""MSER beside Qwen2-Audio and Granite Speech: clips a second by length and batch, with and without generation."""

from collections.abc import Callable, Iterator

import torch

from .peers import granite_speech, qwen2_audio
from .rounds import Comparison, alternate, clips_per_second
from .sizes import BenchmarkSizes
from .systems import OwnModel, System, own_system


# Asked for at the length and batch of everything else.
TARGETS = {"Qwen2-Audio": ">= 8", "Granite Speech": ">= 1"}


def against_peers(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Comparison]:
    """
    For each length and batch MSER's scores beside a peer's answer (`generate`), and beside the prefill alone that this
    answer begins with.
    """
    ours = own_system(sizes, own)
    builds: tuple[Callable[[BenchmarkSizes], System], ...] = (qwen2_audio, granite_speech)
    for build in builds:
        peer = build(sizes)
        for seconds in sizes.seconds:
            for batch_size in sizes.batch_sizes:
                yield from _one_size(sizes, ours, peer, seconds, batch_size)


@torch.inference_mode()
def _one_size(
    sizes: BenchmarkSizes, ours: System, peer: System, seconds: float, batch_size: int
) -> Iterator[Comparison]:
    own_inputs, peer_inputs = ours.inputs(seconds, batch_size), peer.inputs(seconds, batch_size)
    place = f"{seconds:g} s, batch {batch_size}"
    taken = alternate(
        {
            "ours": lambda: ours.answer(own_inputs),
            "generate": lambda: peer.answer(peer_inputs),
            "prefill": lambda: peer.prefill(peer_inputs),
        },
        sizes.slow_rounds,
        f"{peer.name}, {place}",
        warm_up=batch_size == sizes.batch_sizes[0],
    )
    at_target = (seconds, batch_size) == (sizes.target_seconds, sizes.batch_size)
    target = TARGETS[peer.name] if at_target else ""
    yield clips_per_second(f"{peer.name}, {place}", batch_size, taken["ours"], taken["generate"], target)
    yield clips_per_second(f"{peer.name}, prefill alone, {place}", batch_size, taken["ours"], taken["prefill"])


__all__ = ["against_peers"]
