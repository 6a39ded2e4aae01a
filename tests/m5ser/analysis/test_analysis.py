# SPDX-License-Identifier: Apache-2.0
"""Analyze a corpus whose translations keep the emotion, and one whose translations lose it."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from chromium import open_chromium
from html_page import Page
from m5ser_folder import row, write_m5ser
from spoken_m5ser import EMOTIONS, spoken_rows, write_spoken
from transformers import WhisperFeatureExtractor

from mser_llm.cli.m5ser_analyse import AnalyseArguments, run
from mser_llm.inference.recognition import recognize
from mser_llm.m5ser.analysis import analyse_corpus
from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus, BuiltCorpusError
from mser_llm.m5ser.analysis.figures import speakers_figure
from mser_llm.m5ser.analysis.label_noise import check_with_classifier, labels_for
from mser_llm.m5ser.analysis.report import write_corpus_report
from processing_mser import EmotionClassifierProcessor


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    root = tmp_path_factory.mktemp("kept")
    folder = write_spoken(root / "m5ser", kept=1.0)
    return analyse_corpus(folder, root / "out", permutations=99, progress=False), root / "out"


def test_analysis_detects_whether_the_emotion_is_kept(kept, tmp_path):
    results, _ = kept
    test = results["distances"]["prosody_relative"]["test"]
    assert test["p"] <= 0.05 and test["ratio"] < 0.6
    pitch = results["preservation"]["fr"]["f0_median"]["pearson"]
    assert pitch["value"] > 0.9 > 0.5 > pitch["shuffled"]["interval"][1]
    lost = analyse_corpus(
        write_spoken(tmp_path / "m5ser", kept=0.0), tmp_path / "out", permutations=99, progress=False
    )
    test = lost["distances"]["prosody_relative"]["test"]
    assert test["p"] > 0.05 and test["ratio"] > 0.8
    pitch = lost["preservation"]["fr"]["f0_median"]["pearson"]
    assert abs(pitch["value"]) < 0.5


def test_analysis_json_is_reproducible(kept, tmp_path):
    results, out = kept
    written = json.loads((out / "analysis.json").read_text(encoding="utf-8"))
    assert written == results
    again = analyse_corpus(results["folder"], out, permutations=99, progress=False)
    assert again == results
    assert results["measured"]["clips"] == 72 and results["overview"]["rows"] == 72


def test_report_is_complete_and_self_contained(kept):
    results, out = kept
    html = (out / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not re.search(r'(?:src|href)="(?!#)', html) and "http:" not in html and "https:" not in html
    assert sum(tag == "svg" for tag, _ in page.elements) == 7
    assert all(attributes.get("aria-label") for tag, attributes in page.elements if tag == "svg")
    test = results["distances"]["spectrum"]["test"]
    for figure in (f"{test['ratio']:.2f}", f"{results['preservation']['fr']['tilt']['pearson']['value']:.2f}"):
        assert figure in page.text
    for word in (*EMOTIONS, "French", "ravdess", results["manifest_hash"]):
        assert word in page.text


def test_report_escapes_text_and_supports_many_languages_and_no_predictions(kept, tmp_path):
    results = json.loads(json.dumps(kept[0]))
    results["folder"] = "<script>alert(1)</script>"
    results["overview"]["rejects"] = {
        "total": 1,
        "reasons": [{"stage": "read", "reason": "<b>bad</b>", "clips": 1, "languages": {"fr": 1}}],
    }
    # More languages than colors.
    results["preservation"] = {f"l{number}": results["preservation"]["fr"] for number in range(20)}
    results["overview"]["languages"] += results["preservation"]
    # A classifier whose scores are NaN.
    nothing = {"clips": 0, "unreadable": 72, "languages": {}, "pooled": None, "disagreements": []}
    results["label_noise"] = {"model": "runs/half", "words": list(EMOTIONS), "chance": 1 / 3, **nothing}
    html = write_corpus_report(results, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in html and "<b>bad" not in html and "&lt;b&gt;bad" in html
    assert "l19" in Page(html).text and "runs/half" in Page(html).text


def test_report_tables_fit_the_page_with_six_languages(kept, tmp_path):
    results = json.loads(json.dumps(kept[0]))
    languages = ["fr", "de", "it", "zh", "es"]
    results["overview"]["languages"] = ["en", *languages]
    results["preservation"] = dict.fromkeys(languages, results["preservation"]["fr"])
    page = write_corpus_report(results, tmp_path / "report.html")
    with open_chromium() as browser:
        shown = browser.new_page(viewport={"width": 1100, "height": 900})
        shown.goto(page.as_uri())
        hidden = shown.evaluate(
            "[...document.querySelectorAll('.wide')].map(one => one.scrollWidth - one.clientWidth)"
        )
    assert len(hidden) > 3 and max(hidden) == 0


def test_analyse_command_reports_unreadable_clips(tmp_path, capsys):
    rows = spoken_rows(speakers=2)
    rows["en"][0]["audio"] = {"bytes": b"no sound", "path": "broken.flac"}
    folder = write_m5ser(tmp_path / "m5ser", rows)
    assert run(AnalyseArguments(str(folder), str(tmp_path / "out"), permutations=9)) == 1
    printed = capsys.readouterr()
    assert "36 clips" in printed.out and "35 clips of 18 sources measured" in printed.out
    assert "report.html" in printed.out
    assert "broken.flac" in printed.err


def test_analysis_rejects_unlabeled_corpora_and_invalid_numbers(tmp_path):
    unlabelled = [row("mosei", "1", "en") | {"emotion": None}]
    folder = write_m5ser(tmp_path / "m5ser", {"en": unlabelled})
    with pytest.raises(BuiltCorpusError):
        analyse_corpus(folder, tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="permutations 0"):
        analyse_corpus(folder, tmp_path / "out", permutations=0)


def test_analysis_of_speakers_with_one_clip_each(tmp_path):
    """Relative to their speaker all clips are equal."""
    rows = spoken_rows(speakers=9, clips=1)
    for clips in rows.values():
        clips[:] = [clip for number, clip in enumerate(clips) if number // 3 % 3 == number % 3]
        assert len({clip["speaker"] for clip in clips}) == len(clips) == 9
    found = analyse_corpus(write_m5ser(tmp_path / "m5ser", rows), tmp_path / "out", permutations=5, progress=False)
    assert found["distances"]["spectrum_relative"]["picture"]["explained"] == [0, 0]
    assert (tmp_path / "out" / "report.html").is_file()


def test_source_language_is_read_from_the_build(tmp_path):
    folder = write_m5ser(tmp_path / "de", spoken_rows(languages=("de", "en"), speakers=2), source_language="de")
    found = analyse_corpus(folder, tmp_path / "out", permutations=9, progress=False)
    assert found["overview"]["languages"] == ["de", "en"] and list(found["preservation"]) == ["en"]
    assert "German is the source language" in Page((tmp_path / "out" / "report.html").read_text("utf-8")).text
    # One language, without its sources.
    folder = write_m5ser(tmp_path / "fr", {"fr": spoken_rows(speakers=2)["fr"]}, source_language="ru")
    found = analyse_corpus(folder, tmp_path / "out", permutations=9, progress=False)
    assert all(of["test"] is None for of in found["distances"].values()) and found["preservation"] == {}
    text = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).text
    assert "translated from Russian" in text and "English" not in text


def test_classifier_without_a_label_is_rejected_before_measuring(tmp_path):
    processor = EmotionClassifierProcessor(WhisperFeatureExtractor(), emotion_words=["neutral", "happy"])
    folder = write_spoken(tmp_path / "m5ser", speakers=2)
    with pytest.raises(ValueError, match="sad"):
        analyse_corpus(folder, tmp_path / "out", model=object(), processor=processor, progress=False)
    assert not list((tmp_path / "out").iterdir())


def test_disagreements_of_a_classifier_are_sorted_by_confidence(tmp_path, tiny):
    rows = spoken_rows(speakers=2)
    rows["fr"][3]["audio"] = {"bytes": b"no sound", "path": "broken.flac"}
    corpus = BuiltCorpus(write_m5ser(tmp_path / "m5ser", rows))
    found = check_with_classifier(corpus, lambda clip: clip["emotion"] != "sad", *tiny, list(EMOTIONS), progress=False)
    chosen = [clip for language in rows.values() for clip in language if clip["emotion"] != "sad"]
    predictions = [next(recognize(*tiny, [clip["audio"]], EMOTIONS)) for clip in chosen]
    assert found["unreadable"] == 1 and found["clips"] == len(chosen) - 1
    for language in ("en", "fr"):
        own = [
            (clip["emotion"], prediction.label)
            for clip, prediction in zip(chosen, predictions)
            if clip["language"] == language and prediction.label
        ]
        assert found["languages"][language]["WA"] == pytest.approx(
            np.mean([truth == predicted for truth, predicted in own])
        )
    wrong = {
        clip["id"]: prediction.scores[prediction.label]
        for clip, prediction in zip(chosen, predictions)
        if prediction.label not in (None, clip["emotion"])
    }
    listed = {one["id"]: one["probability"] for one in found["disagreements"]}
    assert listed == pytest.approx(wrong, abs=1e-4)
    assert list(listed.values()) == sorted(listed.values(), reverse=True)


def test_labels_for_maps_merged_emotions():
    seven = SimpleNamespace(config=SimpleNamespace(emotion_words=["neutral", "happy", "sad"]))
    assert labels_for(seven, ["happy", "excited", "boredom"]) == {
        "happy": "happy",
        "excited": "happy",
        "boredom": "boredom",
    }
    anything = SimpleNamespace(config=SimpleNamespace(emotion_words=None))
    assert labels_for(anything, ["happy", "excited"]) == {"happy": "happy", "excited": "excited"}


@pytest.mark.parametrize(("least", "most"), [(1, 2), (10, 29), (10, 40), (4, 70), (1, 1000)])
def test_speakers_figure_bars_cover_equally_many_integers(least, most):
    (axes,) = speakers_figure([(clips, 1) for clips in range(least, most + 1)]).axes
    heights = [bar.get_height() for bar in axes.patches]
    # The last bar may reach beyond the maximum.
    assert sum(heights) == most - least + 1 and len(heights) <= 20
    assert len(set(heights[:-1])) == 1 and 0 < heights[-1] <= heights[0]
