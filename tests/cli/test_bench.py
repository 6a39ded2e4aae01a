# SPDX-License-Identifier: Apache-2.0
"""`run-mser bench --quick` runs every part and writes its report. No test checks a speed."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch

import run_mser
from benchmarks.suite import memory
from benchmarks.suite.report import BEGIN, END
from benchmarks.suite.suite import PARTS
from mser_llm.cli.bench import add_benchmarks_to_path
from mser_llm.io.errors import InputError


ROOT = Path(__file__).resolve().parents[2]
KEYS = {"name", "ours", "other", "ratio", "unit"}


def check(folder: Path) -> list[str]:
    """Check the report and return the names of its comparisons."""
    comparisons = json.loads((folder / "bench.json").read_text())
    assert comparisons and all(set(line) == KEYS for line in comparisons)
    for line in comparisons:
        assert all(math.isfinite(line[name]) for name in ("ours", "other", "ratio")), line
        if line["unit"] in ("clips/s", "MiB", "s a batch", "s a step", "s an epoch"):
            assert line["ours"] > 0 and line["other"] > 0 and line["ratio"] > 0, line
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "bench.md").read_text().count("\n|") == len(comparisons) + 2
    assert len(json.loads((folder / "bench_details.json").read_text())["comparisons"]) == len(comparisons)
    return [line["name"] for line in comparisons]


@pytest.mark.slow
def test_quick_bench_runs_every_part(tmp_path: Path, monkeypatch):
    # Each system is measured in a process of its own, which imports everything again.
    monkeypatch.setattr(memory, "SYSTEMS", {name: memory.SYSTEMS[name] for name in ("MSER", "Qwen2-Audio")})
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    output = tmp_path / "bench"
    assert run_mser.main(["bench", "--quick", "--output_dir", str(output), "--page", str(page)]) == 0
    names = check(output)
    assert len(set(names)) == len(names) > len(PARTS)
    assert "| Qwen2-Audio, 2 s, batch 1" in page.read_text()


def test_bench_runs_one_part_alone(tmp_path: Path):
    assert run_mser.main(["bench", "--quick", "--parts", "limit", "--output_dir", str(tmp_path)]) == 0
    assert len(check(tmp_path)) == 4


@pytest.mark.parametrize(
    ("words", "value"), [(["--parts", "speed"], "speed"), (["--page", "nowhere.md"], "nowhere.md"),
                         (["--page", "plain.md"], BEGIN)],
)  # fmt: skip
def test_bench_rejects_unknown_part_or_page(tmp_path: Path, capsys, monkeypatch, words: list[str], value: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.md").write_text("no markers\n")
    assert run_mser.main(["bench", "--quick", "--output_dir", str(tmp_path / "bench"), *words]) == 2
    assert value in capsys.readouterr().err
    assert not (tmp_path / "bench").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_bench_rejects_cuda_without_gpu(capsys):
    assert run_mser.main(["bench", "--device", "cuda"]) == 2
    assert "--device cuda" in capsys.readouterr().err


def test_bench_needs_a_checkout_and_finds_it(tmp_path: Path, monkeypatch):
    with pytest.raises(InputError) as raised:
        add_benchmarks_to_path(tmp_path)
    assert "python run_mser.py bench" in raised.value.fix
    monkeypatch.setattr(sys, "path", [])
    add_benchmarks_to_path(ROOT)
    assert sys.path == [str(ROOT)]
