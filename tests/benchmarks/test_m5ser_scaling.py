# SPDX-License-Identifier: Apache-2.0
"""The scaling benchmark in its smallest form."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "m5ser_scaling.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("m5ser_scaling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # needed by its dataclass
    spec.loader.exec_module(module)
    return module


def test_clock_starts_at_the_first_finished_clips(script, tmp_path):
    clock = script.Clock(tmp_path)
    # Ten seconds of start, then 30 clips in 5 s.
    clock.seen = [(0.0, 0), (10.0, 8), (12.0, 20), (15.0, 38)]
    assert clock.clips_per_second() == 6.0


def test_memory_of_child_processes_is_counted(script):
    # A process whose child uses 100 MB.
    grandchild = "import time; x = bytearray(b'x') * 100_000_000; time.sleep(1)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    before, peak = script.MemoryPeak(), script.MemoryPeak()
    before.look()
    with script.polling(peak.look):
        subprocess.run([sys.executable, "-c", child], check=True)
    assert 95e6 < peak.total - before.total < 200e6


def test_gain_is_the_median_of_adjacent_builds(script):
    # The machine becomes faster within the second round; the ratio of medians would be 2.
    results = script.gain({1: [20.0, 30.0, 40.0], 2: [38.0, 60.0, 76.0]}, {1: "1 process", 2: "2 processes"})
    assert results["ratio"] == pytest.approx(1.9)
    assert results["min_and_max_ratio"] == pytest.approx([1.9, 2.0])
    assert results["clips_per_second"] == {"1 process": 30.0, "2 processes": 60.0}


@pytest.mark.slow
def test_smallest_run_writes_what_it_prints(tmp_path):
    output = tmp_path / "figures.json"
    flags = ["--rows", "20", "--clips_to_translate", "7", "--repeats", "1", "--languages", "fr"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *flags, "--output", str(output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text(encoding="utf-8"))
    assert results["memory"]["rows"] == {"1x": 20, "10x": 200}
    rates = results["speed"]["clips_per_second"]
    assert results["speed"]["ratio"] == pytest.approx(rates["2 workers"] / rates["1 worker"])
    alone = results["speed"]["translator_alone"]
    both = alone["clips_per_second"]
    assert alone["ratio"] == pytest.approx(both["2 processes"] / both["1 process"])
    assert f"{results['memory']['ratio']:.2f}" in done.stdout
