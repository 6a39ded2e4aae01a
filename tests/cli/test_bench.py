# SPDX-License-Identifier: Apache-2.0
"""`run-mser bench --quick` measures everything there is and writes it down; how fast anything is, no test says."""

import json
import math
from pathlib import Path

import pytest
import torch

import run_mser
from benchmarks.suite.report import BEGIN, END
from benchmarks.suite.suite import PARTS


KEYS = {"name", "ours", "other", "ratio", "unit"}


def check(folder: Path) -> list[str]:
    figures = json.loads((folder / "bench.json").read_text())
    assert figures and all(set(line) == KEYS for line in figures)
    for line in figures:
        assert all(math.isfinite(line[name]) for name in ("ours", "other", "ratio")), line
        if line["unit"] in ("clips/s", "MiB", "s a batch", "s a step", "s an epoch"):
            assert line["ours"] > 0 and line["other"] > 0 and line["ratio"] > 0, line
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "bench.md").read_text().count("\n|") == len(figures) + 2
    assert len(json.loads((folder / "bench_details.json").read_text())["comparisons"]) == len(figures)
    return [line["name"] for line in figures]


@pytest.mark.slow
def test_the_quick_form_runs_every_part(tmp_path: Path, capfd):
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    output = tmp_path / "bench"
    assert run_mser.main(["bench", "--quick", "--output_dir", str(output), "--page", str(page)]) == 0
    names = check(output)
    assert len(set(names)) == len(names)
    told = " ".join(names)
    for part in ("limit", "reading", "naive path", "Qwen2-Audio", "Granite Speech", "prefill alone", "training step",
                 "epoch", "50 words beside 4", "peak memory", "scaling with seconds"):  # fmt: skip
        assert part in told, part
    assert "| Qwen2-Audio, 2 s, batch 1" in page.read_text()
    assert f"{output}" in capfd.readouterr().out


def test_one_part_can_be_run_alone(tmp_path: Path):
    assert run_mser.main(["bench", "--quick", "--parts", "limit", "--output_dir", str(tmp_path)]) == 0
    names = check(tmp_path)
    assert len(names) == 4 and names[0].startswith("share of the limit")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--parts", "speed"], f"no part 'speed' of the benchmark; choose from {', '.join(PARTS)}"),
        (["--page", "nowhere.md"], "nowhere.md: no such page"),
        (["--page", "plain.md"], "plain.md: does not hold the lines <!-- run-mser bench: begin -->"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, capsys, monkeypatch, words: list[str], message: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.md").write_text("no markers\n")
    assert run_mser.main(["bench", "--quick", "--output_dir", str(tmp_path / "bench"), *words]) == 2
    told = capsys.readouterr().err.strip()
    assert message in told and "\n" not in told
    assert not (tmp_path / "bench").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_is_refused_where_there_is_none(capsys):
    assert run_mser.main(["bench", "--device", "cuda"]) == 2
    assert "device is cuda, and torch finds none" in capsys.readouterr().err
