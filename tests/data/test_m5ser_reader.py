# SPDX-License-Identifier: Apache-2.0
import pickle
import shutil
from collections.abc import Mapping

import datasets
import numpy as np
import pytest
from datasets import load_dataset
from m5ser_folder import EMOTIONS, SCHEMA, corpus_rows, row, write_m5ser

from mser_llm.data.clips import index_clips
from mser_llm.data.loaded_corpus import CorpusError
from mser_llm.data.m5ser_reader import read_m5ser, train_test_split
from mser_llm.data.read_corpus import parse_corpora, read_corpus
from mser_llm.data.splits import speaker_split
from processing_mser import label_set, load_audio


LANGUAGES = ("en", "fr", "de")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def rows():
    return {language: corpus_rows(language) for language in LANGUAGES}


@pytest.fixture
def folder(tmp_path, rows):
    return write_m5ser(tmp_path / "m5ser", rows)


def written(rows, shards=2):
    """The rows of one language in the order of its shards."""
    return [clip for number in range(shards) for clip in rows[number::shards]]


def test_read_m5ser_returns_the_written_rows_with_lazy_audio(folder, rows):
    reading = read_corpus("m5ser", folder)
    expected = [clip for language in LANGUAGES for clip in written(rows[language])]
    assert reading.name == "m5ser"
    assert [list(found) for found in reading.rows] == [SCHEMA.names] * len(expected)
    assert [{**found, "audio": dict(found["audio"])} for found in reading.rows] == expected
    assert reading.found == dict.fromkeys(EMOTIONS, 12)
    audio = reading.rows[0]["audio"]
    assert isinstance(audio, Mapping) and not isinstance(audio, dict)
    assert audio.get("array") is None
    assert len(pickle.dumps(reading.rows)) < sum(len(clip["audio"]["bytes"]) for clip in expected) / 4


def test_audio_can_be_pickled_and_indexed_for_training(folder, rows):
    reading = read_m5ser(folder)
    again = pickle.loads(pickle.dumps(reading.rows))
    first = written(rows["en"])[0]
    assert again[0]["audio"]["bytes"] == first["audio"]["bytes"]
    assert np.array_equal(load_audio(again[0]["audio"]), load_audio(first["audio"]["bytes"]))
    clips, rejections = index_clips(reading.rows, label_set("seven"))
    assert not rejections
    assert [clip.seconds for clip in clips] == [found["duration"] for found in reading.rows]


def test_folder_that_was_built_again_gives_its_new_audio(folder, rows):
    assert read_m5ser(folder).rows[0]["audio"]["bytes"] == rows["en"][0]["audio"]["bytes"]
    shutil.rmtree(folder)
    write_m5ser(folder, {"en": rows["en"][::-1]})
    assert read_m5ser(folder).rows[0]["audio"]["bytes"] == rows["en"][-1]["audio"]["bytes"]


def test_one_language_can_be_read(folder):
    corpora = parse_corpora([f"m5ser={folder}/data/fr", f"m5ser={folder}/data/de"])
    assert list(corpora) == ["m5ser:fr", "m5ser:de"]
    for (name, path), language in zip(corpora.values(), ("fr", "de")):
        assert {found["language"] for found in read_corpus(name, path).rows} == {language}


def test_build_may_be_in_a_folder_called_data(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data" / "m5ser")
    corpus = read_m5ser(tmp_path / "data" / "m5ser", tmp_path / "cache")
    assert len(corpus.rows) == len(read_m5ser(folder, tmp_path / "cache").rows)
    one = read_m5ser(tmp_path / "data" / "m5ser" / "data" / "fr", tmp_path / "cache")
    assert {row["language"] for row in one.rows} == {"fr"}
    half = tmp_path / "data" / "half"
    shutil.copytree(folder / "data", half / "data")
    with pytest.raises(CorpusError) as caught:
        read_m5ser(half)
    assert caught.value.source == str(half)


def test_empty_shards_are_read(tmp_path, rows):
    folder = write_m5ser(tmp_path / "sparse", {"fr": rows["fr"][:1], "de": []}, shards=3)
    assert [found["id"] for found in read_m5ser(folder).rows] == [rows["fr"][0]["id"]]
    with pytest.raises(CorpusError) as caught:
        read_m5ser(write_m5ser(tmp_path / "empty", {"fr": []}))
    assert caught.value.source == str(tmp_path / "empty")


@pytest.mark.parametrize(
    ("damage", "source"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), ""),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "manifest.json"),
        (lambda folder: next(folder.glob("data/fr/*")).unlink(), "data/fr/"),
        (lambda folder: next(folder.glob("data/fr/*")).write_bytes(b"PAR1"), "data/fr/"),
        (shutil.rmtree, ""),
    ],
)
def test_incomplete_folder_is_rejected(folder, damage, source):
    damage(folder)
    with pytest.raises(CorpusError) as caught:
        read_corpus("m5ser", folder)
    assert caught.value.source.startswith(str(folder / source)) and "\n" not in str(caught.value)


def test_train_test_split_separates_speakers(folder):
    dataset = load_dataset("parquet", data_files=str(folder / "data/*/*.parquet"), split="train")
    split = train_test_split(dataset, test_size=0.25, seed=3)
    speakers = {name: set(side["speaker"]) for name, side in split.items()}
    # Four speakers of equal length: a quarter is one speaker, in each of the three languages.
    assert len(speakers["test"]) == 1 and len(speakers["train"]) == 3
    assert speakers["train"].isdisjoint(speakers["test"])
    assert set(split["test"]["language"]) == set(split["train"]["language"]) == set(LANGUAGES)
    assert sorted([*split["train"]["id"], *split["test"]["id"]]) == sorted(dataset["id"])
    assert split["test"].features["audio"] == datasets.Audio(sampling_rate=16_000, decode=False)
    assert train_test_split(dataset, 0.25, 3)["test"]["id"][:] == split["test"]["id"][:]
    assert {tuple(set(train_test_split(dataset, 0.25, seed)["test"]["speaker"])) for seed in range(9)} != {
        tuple(speakers["test"])
    }


@pytest.mark.parametrize("split", ["datasets", "rows"])
def test_split_without_speakers_keeps_translations_together(tmp_path, split):
    sources = [f"talk/{number}" for number in range(12)]
    rows = {
        language: [
            row("mosei", source, language, speaker=None, emotion=EMOTIONS[n % 2]) for n, source in enumerate(sources)
        ]
        for language in LANGUAGES
    }
    folder = write_m5ser(tmp_path / "m5ser", rows)
    dataset = load_dataset("parquet", data_files=str(folder / "data/*/*.parquet"), split="train")
    rows, divide = (dataset, train_test_split) if split == "datasets" else (read_m5ser(folder).rows, speaker_split)
    with pytest.warns(UserWarning, match="36 of 36"):
        divided = divide(rows, 1 / 3, 0)
    sides = [[clip["id"] for clip in side] for side in (divided.values() if split == "datasets" else divided)]
    together = [{identity.removesuffix(f"/{identity[-2:]}") for identity in side} for side in sides]
    assert [len(side) for side in together] == [8, 4]
    assert together[0].isdisjoint(together[1])
    assert [len(side) for side in sides] == [24, 12]


@pytest.mark.parametrize("options", [{}, {"split": "train", "streaming": True}])
def test_train_test_split_needs_one_split_in_memory(folder, options):
    dataset = load_dataset("parquet", data_files=str(folder / "data/fr/*.parquet"), **options)
    with pytest.raises(ValueError, match="split='train'"):
        train_test_split(dataset, 0.1, 0)
