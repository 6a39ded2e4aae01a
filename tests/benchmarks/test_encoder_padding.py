# SPDX-License-Identifier: Apache-2.0
"""The encoder benchmark in its smallest form."""

import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import datasets
import numpy as np
import pytest
import soundfile
from m5ser_folder import corpus_rows, write_m5ser
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("encoder_padding", ROOT / "benchmarks" / "encoder_padding.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # needed by its dataclass
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    sizes = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    WhisperEncoder(WhisperConfig(num_mel_bins=20, **sizes)).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=20).save_pretrained(folder)
    return folder


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Three clips of the requested length, one too short, one too long, one broken."""
    folder = tmp_path / "speech" / "happy"
    folder.mkdir(parents=True)
    for seconds in (0.2, 0.5, 0.55, 0.6, 1.0):
        noise = 0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds))
        soundfile.write(folder / f"{seconds}.wav", noise, 16000)
    (folder / "broken.wav").write_text("not audio")
    return folder.parent


def test_smallest_run_writes_its_results(script, encoder: Path, speech: Path, tmp_path: Path, capsys):
    output = tmp_path / "new" / "figures.json"
    words = ["--encoder", str(encoder), "--corpus", f"folder={speech}", "--seconds", "0.5", "0.6"]
    assert script.main([*words, "--batch_size", "2", "--repeats", "3", "--output", str(output)]) == 0
    results = json.loads(output.read_text())
    assert results["clips"] == {"count": 3, "mean_seconds": pytest.approx(0.55)}
    assert results["arguments"]["batch_size"] == 2 and results["arguments"]["encoder"] == str(encoder)
    assert results["machine"]["threads"] >= 1 and results["machine"]["processor"]
    for name in ("masked", "stock"):
        times = results["rounds"][name]
        assert len(times) == 3 and min(times) > 0
        assert results["seconds_per_clip"][name] == statistics.median(times)
    ratio = results["seconds_per_clip"]["stock"] / results["seconds_per_clip"]["masked"]
    assert results["ratio"] == pytest.approx(ratio)
    printed = capsys.readouterr().out
    assert "3 clips of 0.55 s" in printed and f"ratio               {ratio:.1f}" in printed


def test_same_seed_draws_the_same_clips(script, speech: Path):
    for corpus in (None, f"folder={speech}"):
        arguments = script.BenchmarkArguments(corpus=corpus, seconds=[0.5, 0.6], clips=2, seed=1)
        first, second = script.draw_clips(arguments), script.draw_clips(arguments)
        assert len(first) == 2
        for clip, again in zip(first, second, strict=True):
            assert 8000 <= len(clip) <= 9600
            np.testing.assert_array_equal(clip, again)


def test_clips_inside_parquet_are_drawn(script, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = write_m5ser(tmp_path / "m5ser", {"fr": corpus_rows("fr")})
    arguments = script.BenchmarkArguments(corpus=f"m5ser={folder}", seconds=[0.5, 0.6], clips=2)
    assert [len(clip) for clip in script.draw_clips(arguments)] == [8000, 8000]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--seconds", "3", "2"], "seconds is [3.0, 2.0]"),
        (["--seconds", "2"], "seconds is [2.0]"),
        (["--repeats", "0"], "repeats is 0"),
        (["--encoder", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_argument_is_an_error_of_one_line(script, words: list[str], value: str, capsys):
    with pytest.raises(SystemExit) as left:
        script.main(words)
    assert left.value.code == 2
    message = capsys.readouterr().err.strip()
    assert value in message and "\n" not in message


def test_corpus_without_clips_of_that_length_is_an_error(script, encoder: Path, speech: Path, capsys):
    with pytest.raises(SystemExit):
        script.main(["--encoder", str(encoder), "--corpus", f"folder={speech}", "--seconds", "5", "6"])
    assert str(speech) in capsys.readouterr().err


@pytest.mark.slow
def test_default_encoder_has_the_size_of_whisper_base(tmp_path: Path):
    output = tmp_path / "figures.json"
    words = ["benchmarks.encoder_padding", "--clips", "1", "--repeats", "1", "--output", str(output)]
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    assert results["encoder_parameters"] == 20_590_592
    assert 2 <= results["clips"]["mean_seconds"] <= 3
