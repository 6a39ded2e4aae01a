# SPDX-License-Identifier: Apache-2.0
"""Four thousand files take no more memory than one thousand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile


SCRIPT = """
import contextlib, os, sys
import run_mser

folder, model = sys.argv[1:]

def peak_mebibytes():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

for count in ("1000", "4000"):
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        words = ["predict", f"{folder}/{count}", "--model", model, "--device", "cpu", "--json"]
        assert run_mser.main(words) == 0
    print(peak_mebibytes())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")
def test_memory_does_not_grow_with_the_number_of_files(tiny_model_dir, tmp_path):
    random = np.random.default_rng(0)
    clips = [tmp_path / f"{index}.wav" for index in range(10)]
    for path in clips:
        soundfile.write(path, 0.1 * random.standard_normal(2000), 16_000)
    for count in (1000, 4000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for index in range(count):
            (folder / f"{index:05}.wav").hardlink_to(clips[index % len(clips)])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(tiny_model_dir)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    fewer, more = map(float, done.stdout.split())
    assert more - fewer < 12, f"the peak grew from {fewer:.0f} to {more:.0f} MiB"
