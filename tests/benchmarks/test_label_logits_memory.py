# SPDX-License-Identifier: Apache-2.0
"""Logits at the labels need at most a fifth of the memory of all logits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read from /proc")
@pytest.mark.slow
def test_logits_at_labels_need_a_fifth_of_the_memory(tmp_path: Path):
    output = tmp_path / "figures.json"
    words = ["benchmarks.label_logits_memory", "--batch_size", "4", "--text_length", "40", "--output", str(output)]
    subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True, cwd=ROOT)
    results = json.loads(output.read_text())
    naive_logits = 4 * 40 * 128256 * 4
    assert results["naive"]["peak_bytes"] > 2 * naive_logits
    assert results["at_labels"]["peak_bytes"] <= results["naive"]["peak_bytes"] / 5
