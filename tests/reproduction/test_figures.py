# SPDX-License-Identifier: Apache-2.0
"""Compare the numbers of the figures with plain loops and planted embeddings."""

import json
from pathlib import Path

import numpy as np
import pytest
from m5ser_folder import write_m5ser
from spoken_m5ser import spoken_rows, write_spoken
from tone_corpus import write_tones

from mser_llm.data.folder_reader import read_folder
from mser_llm.io.store import Store
from mser_llm.reproduction.clusters import NEIGHBOURS, cluster_metrics, summarize_over_speakers
from mser_llm.reproduction.figure4 import WITH, WITHOUT, figure4, projector
from mser_llm.reproduction.formatting import format_interval
from processing_mser import label_set
from run_mser import main


WORDS = np.array(["happy", "sad", "angry"])
FOUR = label_set("four")


def planted(spread: float, by_language: float, rng: np.random.Generator, clips: int = 90):
    """Create embeddings around a direction per emotion and, with `by_language`, another per language."""
    emotions, languages = np.arange(clips) % 3, np.arange(clips) // 3 % 2
    centres, tongues = np.eye(8)[:3], np.eye(8)[3:5]
    values = centres[emotions] + by_language * tongues[languages] + spread * rng.standard_normal((clips, 8))
    speakers = [f"{language}-{clip % 4}" for clip, language in enumerate(languages)]
    return values, WORDS[emotions], np.array(["el", "fa"])[languages], np.array(speakers)


def test_clip_statistics_equal_plain_loops():
    rng = np.random.default_rng(0)
    values, emotions, languages, speakers = planted(0.6, 0.5, rng, clips=40)
    found = cluster_metrics(values, emotions, languages, speakers)

    def distance(one: int, other: int) -> float:
        a, b = values[one], values[other]
        return 1 - a @ b / np.sqrt((a @ a) * (b @ b))

    for clip in range(0, 40, 3):
        others = [other for other in range(40) if languages[other] != languages[clip]]
        nearest = sorted(others, key=lambda other, clip=clip: distance(clip, other))[:NEIGHBOURS]
        assert found["purity"][clip] == np.mean([emotions[other] == emotions[clip] for other in nearest])
        assert found["purity_chance"][clip] == np.mean([emotions[other] == emotions[clip] for other in others])
        own = [distance(clip, other) for other in range(40) if emotions[other] == emotions[clip] and other != clip]
        rest = [
            np.mean([distance(clip, other) for other in range(40) if emotions[other] == word])
            for word in set(emotions) - {emotions[clip]}
        ]
        inner, outer = np.mean(own), min(rest)
        assert found["silhouette"][clip] == pytest.approx((outer - inner) / max(inner, outer))


def test_neighbors_in_one_language_are_other_speakers():
    values, emotions, _, _ = planted(0.5, 0, np.random.default_rng(1), clips=30)
    speakers = ["a"] * 27 + ["b"] * 3
    purity = cluster_metrics(values, emotions, ["el"] * 30, speakers)["purity"]
    # Clips of the first speaker have only three clips of others, which is too few; the second's have 27.
    assert np.isnan(purity[:27]).all() and np.isfinite(purity[27:]).all()
    with pytest.raises(ValueError, match="30 clips"):
        cluster_metrics(values, ["sad"] * 30, ["el"] * 30, speakers)
    with pytest.raises(ValueError, match="2 clips"):
        cluster_metrics(values[:2], ["sad", "happy"], ["el"] * 2, ["a", "b"])


def test_statistics_separate_emotion_from_language_clusters():
    rng = np.random.default_rng(2)
    means = {}
    for name, settings in {"emotions": (0.15, 0.0), "noise": (5.0, 0.0), "languages": (0.15, 6.0)}.items():
        found = cluster_metrics(*planted(*settings, rng))
        means[name] = {figure: np.nanmean(values) for figure, values in found.items()}
    assert means["emotions"]["silhouette"] > 0.7 and means["emotions"]["purity"] > 0.95
    assert abs(means["noise"]["purity"] - means["noise"]["purity_chance"]) < 0.12
    assert means["languages"]["silhouette"] < 0.3, "distance between languages separates the clips of an emotion"


def test_mean_has_an_interval_over_speakers():
    rng = np.random.default_rng(3)
    speakers = np.repeat([f"s{number}" for number in range(12)], 20)
    offsets = np.repeat(rng.normal(0.5, 0.2, 12), 20)
    runs = [offsets + rng.normal(0, 0.01, 240) for _ in range(2)]
    summary = summarize_over_speakers(runs, speakers)
    assert summary["mean"] == pytest.approx(np.mean(runs)) and summary["clusters"] == 12
    assert summary["values"] == pytest.approx([run.mean() for run in runs])
    means = [np.mean(runs, axis=0)[speakers == name].mean() for name in dict.fromkeys(speakers)]
    half = 2.201 * np.std(means, ddof=1) / np.sqrt(12)
    assert (summary["high"] - summary["low"]) / 2 == pytest.approx(half, rel=0.15)
    assert summarize_over_speakers([np.ones(5)], ["a"] * 5) | {"values": None} == {
        "mean": 1.0, "low": None, "high": None, "p": None, "values": None, "clusters": 1,
    }  # fmt: skip


def test_negative_numbers_have_a_minus_sign():
    assert format_interval({"mean": -0.034, "low": -0.1, "high": 0.02}) == "−0.03 [−0.10, 0.02]"


def test_figure_4_of_two_models(tiny_model_dir: Path, tmp_path: Path):
    speech = write_tones(tmp_path / "speech", {"s0": "el", "s1": "fa", "s2": "el"}, takes=2)
    rows = read_folder(speech).rows
    models = {WITHOUT: [tiny_model_dir], WITH: [tiny_model_dir]}
    results = figure4(models, {"folder": rows}, label_set("four"), tmp_path / "out")
    assert results == json.loads((tmp_path / "out" / "figure4.json").read_text(encoding="utf-8"))
    assert (tmp_path / "out" / "figure4.png").read_bytes().startswith(b"\x89PNG")
    assert results["n"] == 24 and results["neighbours_among"] == "other languages"
    assert results["difference"]["silhouette"]["mean"] == 0 and results["difference"]["purity"]["p"] == 1
    assert len(results["points"][WITH]) == 24 and {point["language"] for point in results["points"][WITH]} == {
        "el",
        "fa",
    }
    # Both models have the same weights, so embeddings are computed once and again only for other clips.
    for clips, cached in ((rows, 1), (rows[:12], 2)):
        figure4(models, {"folder": clips}, label_set("four"), tmp_path / "out")
        assert len(Store(tmp_path / "out" / "embeddings")) == cached


def test_lowresource_figure_3_has_a_panel_per_model_and_corpus(
    tiny_model_dir: Path, make_tiny, tmp_path: Path, capsys: pytest.CaptureFixture
):
    other, processor = make_tiny(encoder_layers="last")
    for part in (other, processor):
        part.save_pretrained(tmp_path / "other")
    speech = [write_tones(tmp_path / name, {f"{name}0": "ur", f"{name}1": "ur"}, takes=1) for name in ("a", "b")]
    words = ["reproduce", "lowresource-figure3", "--models", str(tiny_model_dir), str(tmp_path / "other")]
    words += ["--labels", "four", "--output_dir", str(tmp_path / "out"), "--test"]
    words += [f"folder={one}" for one in speech]
    assert main(words) == 0
    panels = json.loads((tmp_path / "out" / "lowresource-figure3.json").read_text(encoding="utf-8"))["figures"]
    assert [(one["corpus"], Path(one["model"]).name) for one in panels] == [
        (corpus, model) for corpus in ("folder:a", "folder:b") for model in (tiny_model_dir.name, "other")
    ]
    for baseline, one in zip(panels[::2], panels[1::2], strict=True):
        assert baseline["difference"]["silhouette"]["mean"] == 0
        difference = one["silhouette"]["mean"] - baseline["silhouette"]["mean"]
        assert one["difference"]["silhouette"]["mean"] == pytest.approx(difference) != 0
    assert (tmp_path / "out" / "lowresource-figure3.png").stat().st_size > 5000
    assert "no training record" in capsys.readouterr().out


@pytest.mark.slow
def test_umap_places_every_clip():
    pytest.importorskip("umap")
    values, *_ = planted(0.3, 0.3, np.random.default_rng(4))
    places = projector("umap")(values)
    assert places.shape == (90, 2) and np.isfinite(places).all()


def test_figure_1_counts_the_hours_of_a_built_corpus(tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = write_spoken(tmp_path / "m5ser")
    assert main(["reproduce", "figure1", "--corpora", f"m5ser={folder}", "--output_dir", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "figure1.json").read_text(encoding="utf-8"))
    assert results["clips"] == 72 and {name: one["clips"] for name, one in results["languages"].items()} == {
        "en": 36, "fr": 36,
    }  # fmt: skip
    assert sum(one["hours"] for one in results["emotions"].values()) == pytest.approx(results["hours"])
    assert (tmp_path / "out" / "figure1.png").stat().st_size > 5000
    assert "1009 hours" in capsys.readouterr().out
    assert main(["reproduce", "figure1", "--corpora", "folder=x", "--output_dir", str(tmp_path / "out")]) == 2
    assert "m5ser=PATH" in capsys.readouterr().err


@pytest.mark.slow
def test_figure_2_comes_from_the_analysis(tmp_path: Path):
    folder = write_spoken(tmp_path / "m5ser")
    assert main(["reproduce", "figure2", "--corpora", f"m5ser={folder}", "--output_dir", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "figure2.json").read_text(encoding="utf-8"))
    analysis = json.loads((tmp_path / "out" / "analysis.json").read_text(encoding="utf-8"))
    assert results["points"] == analysis["distances"]["spectrum"]["picture"]["points"]
    assert (tmp_path / "out" / "figure2_ravdess.png").stat().st_size > 5000


def test_figure_2_rejects_too_few_clips(tmp_path: Path, capsys):
    rows = [row for row in spoken_rows(speakers=2)["fr"] if row["emotion"] == "sad"]
    folder = write_m5ser(tmp_path / "m5ser", {"fr": rows})
    assert main(["reproduce", "figure2", "--corpora", f"m5ser={folder}", "--output_dir", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert str(folder) in printed.err.strip().splitlines()[-1] and "figure2" not in printed.out
