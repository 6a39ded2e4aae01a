# SPDX-License-Identifier: Apache-2.0
"""Measure the peak memory of one prediction, each system in its own process.

    python -m benchmarks.suite.memory NAME full|quick

prints in MiB: peak resident memory (`VmHWM`), resident memory before the prediction, and peak during the prediction.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.suite.peers import granite_speech, qwen2_audio
from benchmarks.suite.rounds import Comparison
from benchmarks.suite.sizes import FULL, QUICK, BenchmarkSizes
from benchmarks.suite.systems import System, naive_system, own_system


SYSTEMS: dict[str, Callable[[BenchmarkSizes], System]] = {
    "MSER": own_system,
    "naive": naive_system,
    "Qwen2-Audio": qwen2_audio,
    "Granite Speech": granite_speech,
}
STATUS = Path("/proc/self/status")


def resident_mebibytes(line: str) -> float:
    """`VmHWM` (peak) or `VmRSS` (now) of this process. Unlike `ru_maxrss`, neither is inherited from the parent."""
    for found in STATUS.read_text(encoding="ascii").splitlines():
        if found.startswith(f"{line}:"):
            return int(found.split()[1]) / 1024
    raise OSError(f"{STATUS}: no {line}; peak memory can be measured only on Linux")


def reset_peak() -> None:
    """Reset `VmHWM` to the current memory."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def memory(sizes: BenchmarkSizes) -> Iterator[Comparison]:
    """Compare the peak memory of MSER's process with that of each other system."""
    if not STATUS.is_file():
        return
    peaks = {name: _in_own_process(name, sizes) for name in SYSTEMS}
    for name in list(SYSTEMS)[1:]:
        ours, other = peaks["MSER"], peaks[name]
        place = f"{sizes.target_seconds:g} s, batch {sizes.batch_size}"
        yield Comparison(f"peak memory, {name}, {place}", [ours["peak"]], [other["peak"]], "MiB", "less")
        yield Comparison(
            f"memory above weights and libraries, {name}, {place}",
            [ours["predicting"] - ours["before"]],
            [other["predicting"] - other["before"]],
            "MiB",
            "less",
        )


def _in_own_process(name: str, sizes: BenchmarkSizes) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.suite.memory", name, "quick" if sizes is QUICK else "full"]
    # The child imports this package from the same place.
    path = [str(Path(__file__).resolve().parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise OSError(f"{' '.join(command)} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


@torch.inference_mode()
def main(name: str, size: str) -> None:
    sizes = {"full": FULL, "quick": QUICK}[size]
    system = SYSTEMS[name](sizes)
    inputs = system.inputs(sizes.target_seconds, sizes.batch_size)
    building, before = resident_mebibytes("VmHWM"), resident_mebibytes("VmRSS")
    with suppress(OSError):  # the peak then includes building the model
        reset_peak()
    system.predict(inputs)
    predicting = resident_mebibytes("VmHWM")
    print(json.dumps({"peak": max(building, predicting), "before": before, "predicting": predicting}))


if __name__ == "__main__":
    main(*sys.argv[1:])
