# SPDX-License-Identifier: Apache-2.0
"""What machines can do: published peaks of GPUs, and what this one does, measured."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from mser_llm.training.planning.step_meter import StepMeter, Work


@dataclass(frozen=True)
class Machine:
    """
    Attributes:
        name: as it is called on the command line.
        half_flops, full_flops: FLOP/s of matrix multiplication in bfloat16 (dense) and in float32.
        bandwidth: bytes/s that operations other than products go over: of a GPU between memory and processor.
        memory: bytes.
        overhead: seconds that an operation takes at least.
        overlaps: whether operations are queued while earlier ones compute, as on a GPU.
    """

    name: str
    half_flops: float
    full_flops: float
    bandwidth: float
    memory: float
    overhead: float
    overlaps: bool = True

    def seconds(self, work: Work, share: float = 1.0) -> float:
        """
        How long some work takes by the roofline model (Williams et al. 2009): an operation is bound by its arithmetic
        or by the memory that it goes over.

        Args:
            work: to be done.
            share: of the peak of arithmetic that is reached.
        """
        bound = waiting = 0.0
        for (flops, traffic, half), count in work.operations.items():
            rate = (self.half_flops if half else self.full_flops) * share
            bound += count * max(flops / rate, traffic / self.bandwidth)
            waiting += count * self.overhead
        return max(bound, waiting) if self.overlaps else bound + waiting


# Dense bfloat16 with float32 accumulation, float32 without tensor cores, memory and its bandwidth, by NVIDIA's data
# sheets "A100 80GB SXM" (2021), "H100 SXM" (2023), "H200 SXM" (2024), "L40S" (2023) and the Ada whitepaper (RTX 4090).
# The overhead is what PyTorch needs to launch a kernel from Python.
MACHINES = {
    machine.name: machine
    for machine in (
        Machine("A100", 312e12, 19.5e12, 2.039e12, 80e9, 1e-5),
        Machine("H100", 989e12, 67e12, 3.35e12, 80e9, 1e-5),
        Machine("H200", 989e12, 67e12, 4.8e12, 141e9, 1e-5),
        Machine("L40S", 362e12, 91.6e12, 0.864e12, 48e9, 1e-5),
        Machine("RTX4090", 165e12, 82.6e12, 1.008e12, 24e9, 1e-5),
    )
}


def this_machine(seconds: float = 1.2) -> Machine:
    """
    This machine's processor, measured as it is loaded now, with the threads that torch uses. Products have their rate;
    what lies between them, of the kinds and sizes that a Transformer has, has another.

    Args:
        seconds: that measuring may take.
    """
    size = 512
    left, right = torch.randn(4 * size, size), torch.randn(size, size)
    full = 8 * size**3 / _mean(lambda: left @ right, seconds / 3)
    half_left, half_right = left.bfloat16(), right.bfloat16()
    half = 8 * size**3 / _mean(lambda: half_left @ half_right, seconds / 6)
    heads = torch.randn(16, 4, 64, 64)

    def between_products() -> None:
        functional.gelu(heads + heads).transpose(1, 2).contiguous()
        functional.dropout(heads.softmax(-1), 0.1)

    traffic = sum(moved * count for (_, moved, _), count in _metered(between_products).operations.items())
    bandwidth = traffic / _mean(between_products, seconds / 4)
    layer = torch.nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)
    token = torch.randn(1, 1, 4)

    def of_no_size() -> None:
        layer(token).sum().backward()

    # With all that autograd and the modules do around each of them.
    overhead = _mean(of_no_size, seconds / 4) / _metered(of_no_size).operations.total()
    return Machine("cpu", half, full, bandwidth, available_memory(), overhead, overlaps=False)


def _metered(function: Callable[[], object]) -> Work:
    function()  # what the first call makes, such as gradients, is not its work
    with StepMeter() as meter:
        function()
    return meter.take()


def available_memory() -> float:
    """Bytes of main memory that a new process can have."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024.0
    except (OSError, KeyError):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _mean(function: Callable[[], object], seconds: float) -> float:
    """Seconds of a call, those included in which others have the processor: training has to wait for them too."""
    function()
    calls, start = 0, time.perf_counter()
    while calls < 5 or time.perf_counter() < start + seconds:
        function()
        calls += 1
    return (time.perf_counter() - start) / calls
