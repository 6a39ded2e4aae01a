# SPDX-License-Identifier: Apache-2.0
"""Select and measure the clips of a corpus, each of them once."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from m5ser_folder import corpus_rows, write_m5ser
from spoken_m5ser import EMOTIONS, spoken_rows

from mser_llm.io.store import Store
from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus
from mser_llm.m5ser.analysis.clip_measures import measure_clip
from mser_llm.m5ser.analysis.measured_clips import cache_key, choose_sources, measure_corpus, pack, unpack
from mser_llm.m5ser.analysis.overview import overview
from processing_mser import load_audio


@pytest.fixture(scope="module")
def rows():
    """Six sources of two speakers; one has no translation."""
    rows = spoken_rows(speakers=2, clips=1)
    del rows["fr"][4]
    return rows


def measure(folder, cache, **settings):
    corpus = BuiltCorpus(folder)
    return measure_corpus(corpus, overview(corpus, False), cache, progress=False, **settings)


@pytest.fixture(scope="module")
def measured(rows, tmp_path_factory):
    """(folder, cache, measures) of a corpus measured once."""
    root = tmp_path_factory.mktemp("measured")
    folder = write_m5ser(root / "m5ser", rows)
    return folder, root / "cache", measure(folder, root / "cache")


def test_measures_are_those_of_each_clip(measured, rows):
    clips = measured[2]
    sources = sorted(clip["id"].removesuffix("/en") for clip in rows["en"])
    assert clips.languages == ["en", "fr"] and clips.emotions == list(EMOTIONS)
    assert clips.num_clips == 2 * len(sources) - 1
    by_id = {clip["id"]: clip for language in rows.values() for clip in language}
    for index, source in enumerate(sources):
        for number, language in enumerate(clips.languages):
            own = by_id.get(f"{source}/{language}")
            if own is None:
                assert np.isnan(clips.scalars[number, index]).all()
                continue
            expected = measure_clip(load_audio(own["audio"]))
            assert clips.emotions[clips.emotion[index]] == own["emotion"]
            assert np.array_equal(clips.scalars[number, index], expected.scalars, equal_nan=True)
            assert np.array_equal(clips.spectra[number, index], expected.spectrum)
            assert np.array_equal(clips.contours[number, index], expected.contour, equal_nan=True)
    same = clips.speaker[:, None] == clips.speaker
    assert (same == (np.arange(6)[:, None] // 3 == np.arange(6) // 3)).all()


def test_cached_clips_are_not_measured_again(measured, rows, tmp_path, monkeypatch):
    folder, cache, first = measured
    keys = [cache_key(row["audio"]) for language in rows.values() for row in language]
    with Store(cache) as store, Store(tmp_path / "cache") as copy:
        one = unpack(store.get(keys[0]))
        marked = replace(one, scalars=np.where(np.arange(6) == 3, 12.5, one.scalars))
        copy.write({**{key: store.get(key) for key in keys}, keys[0]: pack(marked)})
    monkeypatch.setattr("mser_llm.m5ser.analysis.measured_clips.measure_clip", None)
    again = measure(folder, tmp_path / "cache")
    differs = ~np.isclose(again.scalars, first.scalars, equal_nan=True)
    assert differs.sum() == 1 and again.scalars[differs] == [12.5]
    assert np.array_equal(again.spectra, first.spectra, equal_nan=True)


def test_changed_and_unreadable_audio_under_an_old_id_is_measured(measured, rows, tmp_path):
    _, cache, _ = measured
    shutil.copytree(cache, tmp_path / "cache")
    broken = rows["en"][2] | {"audio": {"bytes": rows["en"][2]["audio"]["bytes"][:300], "path": "cut.flac"}}
    changed = {
        "en": [*rows["en"][:2], broken, *rows["en"][3:]],
        "fr": [rows["fr"][0] | {"audio": rows["en"][5]["audio"]}, *rows["fr"][1:]],
    }
    folder = write_m5ser(tmp_path / "other", changed)
    for _ in range(2):
        clips = measure(folder, tmp_path / "cache")
        assert [error["id"] for error in clips.errors] == [broken["id"]]
        assert "cut.flac" in clips.errors[0]["error"]
        assert clips.num_clips == 10
    name = rows["fr"][0]["id"].removesuffix("/fr")
    index = sorted(clip["id"].removesuffix("/en") for clip in rows["en"]).index(name)
    assert np.array_equal(clips.spectra[1, index], measure_clip(load_audio(rows["en"][5]["audio"])).spectrum)


@pytest.mark.slow
def test_two_processes_give_the_same_measures(measured, tmp_path):
    folder, _, one = measured
    two = measure(folder, tmp_path / "cache", workers=2)
    assert np.array_equal(one.scalars, two.scalars, equal_nan=True)
    assert np.array_equal(one.spectra, two.spectra, equal_nan=True)


def test_choose_sources_selects_all_translations_of_a_source(tmp_path):
    rows = {language: corpus_rows(language, speakers=30) for language in ("en", "fr", "de")}
    rows["fr"] = rows["fr"][10:]
    corpus = BuiltCorpus(write_m5ser(tmp_path / "m5ser", rows))
    counted = overview(corpus, False)
    chosen = choose_sources(counted, sources_per_cell=10)
    by_language = {language: set() for language in rows}
    for row in corpus.rows():
        if chosen(row):
            by_language[row["language"]].add(row["source"])
    assert by_language["en"] == by_language["de"]
    assert by_language["fr"] == by_language["en"] & {clip["id"].removesuffix("/fr") for clip in rows["fr"]}
    assert 50 < len(by_language["en"]) < 90
    assert sum(map(choose_sources(counted, 0), corpus.rows())) == corpus.num_rows
