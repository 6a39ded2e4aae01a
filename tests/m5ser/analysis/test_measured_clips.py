# SPDX-License-Identifier: Apache-2.0
"""Which clips are measured, that none is measured twice, and that a broken one costs only itself."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from m5ser_folder import corpus_rows, write_m5ser
from spoken_m5ser import EMOTIONS, spoken_rows

from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus
from mser_llm.m5ser.analysis.clip_measures import measure_clip
from mser_llm.m5ser.analysis.measure_cache import MeasureCache, MeasureCacheError
from mser_llm.m5ser.analysis.measured_clips import choose_sources, measure_corpus
from mser_llm.m5ser.analysis.overview import overview
from processing_mser import load_audio


@pytest.fixture(scope="module")
def rows():
    return spoken_rows(speakers=2, clips=2)


def measured(folder, cache, **settings):
    corpus = BuiltCorpus(folder)
    return measure_corpus(corpus, overview(corpus, False), cache, progress=False, **settings)


def test_each_place_holds_the_measures_of_its_clip(tmp_path, rows):
    missing = rows["fr"].pop(4)
    folder = write_m5ser(tmp_path / "m5ser", rows)
    clips = measured(folder, tmp_path / "cache")
    sources = sorted(clip["id"].removesuffix("/en") for clip in rows["en"])
    assert clips.languages == ["en", "fr"] and clips.emotions == list(EMOTIONS)
    assert clips.num_clips == 2 * len(sources) - 1
    for place, source in enumerate(sources):
        for number, language in enumerate(clips.languages):
            (own,) = [clip for clip in rows[language] if clip["id"] == f"{source}/{language}"] or [missing]
            assert clips.emotions[clips.emotion[place]] == own["emotion"]
            if own is missing:
                assert np.isnan(clips.scalars[number, place]).all()
            else:
                expected = measure_clip(load_audio(own["audio"]))
                assert np.array_equal(clips.scalars[number, place], expected.scalars, equal_nan=True)
                assert np.array_equal(clips.spectra[number, place], expected.spectrum)
                assert np.array_equal(clips.contours[number, place], expected.contour, equal_nan=True)
    same = clips.speaker[:, None] == clips.speaker
    assert (same == (np.arange(12)[:, None] // 6 == np.arange(12) // 6)).all()
    rows["fr"].insert(4, missing)


def test_what_the_cache_holds_is_not_measured_again(tmp_path, rows):
    folder = write_m5ser(tmp_path / "m5ser", rows)
    first = measured(folder, tmp_path / "cache")
    # A mark on one entry comes out again; half the entries are lost and come back, as after a kill.
    key = MeasureCache.key(rows["fr"][0]["audio"])
    with MeasureCache(tmp_path / "cache") as cache:
        marked = np.where(np.arange(6) == 3, 12.5, cache.get(key).scalars)
        cache.add([(key, replace(cache.get(key), scalars=marked))])
    with sqlite3.connect(tmp_path / "cache") as file:
        file.execute("DELETE FROM clips WHERE rowid % 2 = 0 AND key != ?", (key,))
    again = measured(folder, tmp_path / "cache")
    differs = ~np.isclose(again.scalars, first.scalars, equal_nan=True)
    assert differs.sum() == 1 and again.scalars[differs] == [12.5]
    assert np.array_equal(again.spectra, first.spectra)


def test_another_sound_under_an_old_name_is_measured(tmp_path, rows):
    measured(write_m5ser(tmp_path / "m5ser", rows), tmp_path / "cache")
    swapped = {**rows, "fr": [{**rows["fr"][0], "audio": rows["en"][5]["audio"]}, *rows["fr"][1:]]}
    clips = measured(write_m5ser(tmp_path / "other", swapped), tmp_path / "cache")
    expected = measure_clip(load_audio(rows["en"][5]["audio"]))
    place = sorted(clip["id"] for clip in rows["fr"]).index(rows["fr"][0]["id"])
    assert np.array_equal(clips.spectra[1, place], expected.spectrum)


def test_a_clip_that_cannot_be_read_costs_only_itself(tmp_path, rows):
    broken = rows["en"][2] | {"audio": {"bytes": rows["en"][2]["audio"]["bytes"][:300], "path": "cut.flac"}}
    folder = write_m5ser(tmp_path / "m5ser", {**rows, "en": [*rows["en"][:2], broken, *rows["en"][3:]]})
    for _ in range(2):
        clips = measured(folder, tmp_path / "cache")
        assert [error["id"] for error in clips.errors] == [broken["id"]]
        assert "cut.flac" in clips.errors[0]["error"]
        assert clips.num_clips == 23


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path, rows):
    folder = write_m5ser(tmp_path / "m5ser", rows)
    one, two = (measured(folder, tmp_path / f"cache-{workers}", workers=workers) for workers in (1, 2))
    assert np.array_equal(one.scalars, two.scalars, equal_nan=True)
    assert np.array_equal(one.spectra, two.spectra)


def test_sources_are_chosen_with_all_their_translations(tmp_path):
    rows = {language: corpus_rows(language, speakers=30) for language in ("en", "fr", "de")}
    rows["fr"] = rows["fr"][10:]
    corpus = BuiltCorpus(write_m5ser(tmp_path / "m5ser", rows))
    chosen = choose_sources(overview(corpus, False), sources_per_cell=10)
    by_language = {language: set() for language in rows}
    for row in corpus.rows():
        if chosen(row):
            by_language[row["language"]].add(row["source"])
    assert by_language["en"] == by_language["de"]
    there = {clip["id"].removesuffix("/fr") for clip in rows["fr"]}
    assert by_language["fr"] == by_language["en"] & there
    assert 50 < len(by_language["en"]) < 90
    assert sum(map(choose_sources(overview(corpus, False), 0), corpus.rows())) == corpus.num_rows


def test_a_file_that_is_no_cache_is_told_with_the_cure(tmp_path):
    (tmp_path / "cache").write_text("something else that is long enough to be looked at" * 3)
    with pytest.raises(MeasureCacheError, match="delete it"):
        MeasureCache(tmp_path / "cache")


def test_a_cache_that_cannot_be_written_for_now_is_not_to_be_deleted(tmp_path):
    with MeasureCache(tmp_path / "held.sqlite") as cache:
        other = sqlite3.connect(tmp_path / "held.sqlite")
        other.execute("BEGIN EXCLUSIVE")
        cache._file.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(MeasureCacheError, match=r"held.sqlite: cannot be read or written .* locked.; make room"):
            cache.add([(b"key", "unreadable")])
        other.rollback()
        other.close()
        cache.add([(b"key", "unreadable")])
        assert cache.get(b"key") == "unreadable"
