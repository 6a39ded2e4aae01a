# SPDX-License-Identifier: Apache-2.0
"""The encoder benchmark in its smallest form."""

import json
import statistics
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
from m5ser_folder import corpus_rows, write_m5ser
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from benchmarks.encoder_padding import BenchmarkArguments, draw_clips, main


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


def test_smallest_run_writes_its_results(encoder: Path, speech: Path, tmp_path: Path, capsys):
    output = tmp_path / "new" / "figures.json"
    words = ["--encoder", str(encoder), "--corpus", f"folder={speech}", "--seconds", "0.5", "0.6"]
    assert main([*words, "--batch_size", "2", "--repeats", "3", "--output", str(output)]) == 0
    results = json.loads(output.read_text())
    assert results["clips"] == {"count": 3, "mean_seconds": pytest.approx(0.55)}
    assert results["arguments"]["batch_size"] == 2 and results["machine"]["processor"]
    for name in ("masked", "stock"):
        times = results["rounds"][name]
        assert len(times) == 3 and min(times) > 0
        assert results["seconds_per_clip"][name] == statistics.median(times)
    ratio = results["seconds_per_clip"]["stock"] / results["seconds_per_clip"]["masked"]
    assert results["ratio"] == pytest.approx(ratio)
    assert f"ratio               {ratio:.1f}" in capsys.readouterr().out


def test_same_seed_draws_the_same_clips(speech: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    inside_parquet = write_m5ser(tmp_path / "m5ser", {"fr": corpus_rows("fr")})
    for corpus in (None, f"folder={speech}", f"m5ser={inside_parquet}"):
        arguments = BenchmarkArguments(corpus=corpus, seconds=[0.5, 0.6], clips=2, seed=1)
        first, second = draw_clips(arguments), draw_clips(arguments)
        assert len(first) == 2
        for clip, again in zip(first, second, strict=True):
            assert 8000 <= len(clip) <= 9600
            np.testing.assert_array_equal(clip, again)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--seconds", "3", "2"], "seconds is [3.0, 2.0]"),
        (["--seconds", "2"], "seconds is [2.0]"),
        (["--repeats", "0"], "repeats is 0"),
        (["--encoder", "/nowhere"], "/nowhere"),
        (["--corpus", "folder=SPEECH", "--seconds", "5", "6"], "no clip of 5 to 6 s"),
    ],
)
def test_wrong_argument_is_an_error_of_one_line(words: list[str], value: str, speech: Path, capsys):
    with pytest.raises(SystemExit) as left:
        main([word.replace("SPEECH", str(speech)) for word in words])
    assert left.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert value in message
