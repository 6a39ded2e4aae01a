# SPDX-License-Identifier: Apache-2.0
"""Select, order and slice the rows to translate, and read them."""

import sys
from collections import Counter
from itertools import chain
from types import MappingProxyType

import numpy as np
import pytest
import soundfile
from m5ser_building.toy_corpus import EMOTIONS, toy_config, write_corpus
from pyarrow import parquet

from mser_llm.data.schema import new_row
from mser_llm.io.errors import InputError
from mser_llm.m5ser.clip import clip_of
from mser_llm.m5ser.errors import SourceGoneError
from mser_llm.m5ser.shards import Shard
from mser_llm.m5ser.sources import (
    ReadSources,
    describe_sources,
    draw_sources,
    order_sources,
    read_sources,
    slice_sizes,
    write_slices,
)
from mser_llm.m5ser.writing import row_of
from processing_mser import label_set


def rows(count, corpus="meld", **columns):
    return [
        new_row(
            id=f"c{i}",
            path=f"/nowhere/{i}.wav",
            corpus=corpus,
            **{"emotion": EMOTIONS[i % 7], "language": "en", "speaker": f"s{i % 3}", **columns},
        )
        for i in range(count)
    ]


def test_order_depends_on_seed_and_ids_only():
    listed = rows(50) + rows(50, corpus="mead")
    ordered = order_sources(listed, 0)
    assert order_sources(listed[::-1], 0) == ordered
    assert [row["id"] for row in order_sources(listed, 1)] != [row["id"] for row in ordered]
    assert describe_sources(listed) == describe_sources(ordered)
    # The corpora are mixed.
    assert 10 < Counter(row["corpus"] for row in ordered[:50])["meld"] < 40


def test_description_depends_on_labels_and_not_on_paths():
    moved = [{**row, "audio": {"bytes": None, "path": "/elsewhere"}} for row in rows(3)]
    relabelled = rows(2) + rows(3, emotion="fear")[2:]
    assert describe_sources(moved) == describe_sources(rows(3))
    assert describe_sources(relabelled)["meld"]["sha256"] != describe_sources(rows(3))["meld"]["sha256"]
    assert describe_sources(rows(3))["meld"]["rows"] == 3
    with pytest.raises(InputError, match="'c0'") as raised:
        order_sources(rows(2) + rows(1), 0)
    assert raised.value.source == "meld"


@pytest.mark.parametrize(("count", "slices"), [(10, 4), (3, 5), (0, 2), (7, 1)])
def test_slices_divide_the_rows_evenly(tmp_path, count, slices):
    given = rows(count)
    write_slices(given, tmp_path / "x.parquet", slices)
    sizes = slice_sizes(tmp_path / "x.parquet")
    assert len(sizes) == slices
    assert max(sizes) - min(sizes) <= 1
    file = parquet.ParquetFile(tmp_path / "x.parquet")
    assert list(chain.from_iterable(file.read_row_group(i).to_pylist() for i in range(slices))) == given


def test_draw_is_balanced_and_differs_between_languages(tmp_path):
    unbalanced = order_sources(rows(70) + rows(200, corpus="mead", emotion="neutral"), 0)
    config = toy_config(tmp_path, tmp_path, sample=28)
    drawn = draw_sources(unbalanced, config, "fr")
    assert Counter(row["emotion"] for row in drawn) == dict.fromkeys(EMOTIONS, 4)
    assert len({row["speaker"] for row in drawn}) == 3
    assert [row for row in unbalanced if row in drawn] == drawn
    assert draw_sources(unbalanced, config, "fr") == drawn
    assert draw_sources(unbalanced, config, "de") != drawn
    assert draw_sources(unbalanced, toy_config(tmp_path, tmp_path), "fr") == unbalanced


def calls_in(work):
    """Count the function calls, C functions included: a run time that does not depend on the machine."""
    called = []
    sys.setprofile(lambda frame, event, argument: called.append(event) if event.endswith("call") else None)
    try:
        work()
    finally:
        sys.setprofile(None)
    return len(called)


def test_draw_is_not_slowed_by_one_speaker_with_most_clips(tmp_path):
    """As the unknown speaker of a hundred thousand clips, in a corpus of thousands of speakers with a few clips."""
    named = [row | {"speaker": f"s{number}"} for number, row in enumerate(rows(800, emotion="sad"))]
    half = named[:400] + [row | {"speaker": None} for row in named[400:]]
    config = toy_config(tmp_path, tmp_path, sample=100)
    assert len(draw_sources(half, config, "fr")) == 100
    assert calls_in(lambda: draw_sources(half, config, "fr")) < 1.5 * calls_in(
        lambda: draw_sources(named, config, "fr")
    )


def test_draw_skips_foreign_rows_and_counts_a_merged_emotion_as_its_label(tmp_path):
    given = rows(3) + rows(5, corpus="mead", emotion="contempt") + rows(5, corpus="savee", language="de")
    drawn = draw_sources(given, toy_config(tmp_path, tmp_path, sample=100), "fr")
    assert [row["corpus"] for row in drawn] == ["meld"] * 3
    given = rows(40, emotion="happy") + rows(40, corpus="mead", emotion="excited") + rows(40, "ravdess", emotion="sad")
    drawn = draw_sources(order_sources(given, 0), toy_config(tmp_path, tmp_path, sample=20), "fr")
    counts = Counter(row["emotion"] for row in drawn)
    assert counts["sad"] == counts["happy"] + counts["excited"] == 10 and counts["excited"] > 0


def read_all(tmp_path, given, **changes):
    write_slices(given, tmp_path / "fr.parquet", 1)
    shard = Shard(tmp_path, "fr", 0, 1)
    step = ReadSources([shard], {"fr": tmp_path / "fr.parquet"}, toy_config(tmp_path, tmp_path, **changes))
    return [clip_of(document) for document in step.run(None, 0, 1)]


def test_read_rejects_only_the_rows_that_cannot_be_used(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", ["whole", "cut", "gone", "noise"])
    given = read_sources([f"folder={corpus}"])
    cut, noise = corpus / "clips" / "cut.wav", corpus / "clips" / "noise.wav"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    noise.write_bytes(b"no recording")
    (corpus / "clips" / "gone.wav").unlink()
    given += rows(1, emotion="contempt") + rows(1, corpus="mead", emotion=None) + rows(1, "savee", language="de")
    clips = read_all(tmp_path, given)
    found = {clip.id: clip.rejection and clip.rejection.reason for clip in clips}
    assert found.pop("folder/clips/whole.wav/fr") is None
    assert all(clip.rejection.stage == "read" for clip in clips if clip.rejection)
    assert found["meld/c0/fr"] == "emotion contempt is not in the label set"
    assert found["mead/c0/fr"] == "emotion unknown is not in the label set"
    assert found["savee/c0/fr"] == "speaks de, not en"
    for name in ("cut", "gone", "noise"):
        reason = found[f"folder/clips/{name}.wav/fr"]
        assert reason and str(tmp_path) not in reason
    source = next(clip.source for clip in clips if clip.rejection is None)
    expected, rate = soundfile.read(corpus / "clips" / "whole.wav", dtype="float32")
    assert rate == 16_000
    assert source.tolist() == expected.tolist()


def test_read_stops_if_the_corpus_is_unreachable(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", ["a", "b"])
    given = read_sources([f"folder={corpus}"])
    moved = (corpus / "clips").rename(tmp_path / "elsewhere")
    with pytest.raises(SourceGoneError, match=r"[ab]\.wav"):
        read_all(tmp_path / "first", given)
    (corpus / "clips").mkdir()  # as a network share that is not mounted
    with pytest.raises(SourceGoneError):
        read_all(tmp_path / "second", given)
    (corpus / "clips").rmdir()
    moved.rename(corpus / "clips")
    assert [clip.rejection for clip in read_all(tmp_path / "third", given)] == [None, None]


def test_read_takes_recordings_from_parquet_and_rejects_silent_ones(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", ["a", "b"])
    soundfile.write(corpus / "clips" / "b.wav", np.full(9600, 1.2e-5), 16_000, subtype="PCM_24")
    inside, silent = read_sources([f"folder={corpus}"])
    content = (corpus / "clips" / "a.wav").read_bytes()
    inside = {**inside, "audio": MappingProxyType({"bytes": content, "path": "a.wav"})}
    clip, rejected = read_all(tmp_path, [inside, silent])
    assert clip.rejection is None and len(clip.source) == 9600
    assert rejected.rejection.reason == "is silent in 16 bits"


@pytest.mark.parametrize("labels", [{}, {"labels": ["four"]}])
def test_read_keeps_the_name_of_a_merged_emotion(tmp_path, labels):
    """IEMOCAP's excited counts as happy in `four`, so it is translated too."""
    corpus = write_corpus(tmp_path / "corpus", ["a"])
    (row,) = read_sources([f"folder={corpus}"])
    (clip,) = read_all(tmp_path, [{**row, "emotion": "excited", "split": "session2"}], **labels)
    assert clip.rejection is None
    clip.speech = np.zeros(8000, dtype=np.float32)
    written = row_of(clip)
    assert (written["emotion"], written["source_split"]) == ("excited", "session2")
    assert [label_set(name).map(written["emotion"]) for name in ("seven", "four")] == [None, "happy"]
    (seven,) = read_all(tmp_path / "seven", [{**row, "emotion": "excited"}], labels=["seven"])
    assert "excited" in seven.rejection.reason
