# SPDX-License-Identifier: Apache-2.0
"""Read a built folder back and compare it with the rows that were written."""

import pytest
from m5ser_folder import EMOTIONS, corpus_rows, row, write_m5ser

from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus, BuiltCorpusError, source_key
from mser_llm.m5ser.analysis.overview import overview


def reject(stage, reason, language="fr"):
    name = {"id": f"ravdess/x/{language}", "source_id": "x", "source_corpus": "ravdess"}
    return name | {"language": language, "stage": stage, "reason": reason, "value": 0.3}


@pytest.fixture
def rows():
    english, french = corpus_rows("en"), corpus_rows("fr")
    return {"fr": french[3:], "en": english + corpus_rows("en", corpus="meld", speakers=2)}


@pytest.fixture
def folder(tmp_path, rows):
    rejects = {"fr": [reject("filter", "0.31 s long"), reject("filter", "0.4 s long"), reject("read", "cut short")]}
    return write_m5ser(tmp_path / "m5ser", rows, rejects)


def test_rows_equal_what_was_written(folder, rows):
    corpus = BuiltCorpus(folder)
    written = {clip["id"]: clip for language in rows.values() for clip in language}
    found = {clip["id"]: clip for clip in corpus.rows()}
    assert corpus.num_rows == len(found) == len(written)
    for name, clip in found.items():
        assert all(clip[key] == written[name][key] for key in ("emotion", "language", "speaker", "duration"))
        assert "audio" not in clip
    assert len(corpus.manifest["manifest_hash"]) == 64
    for name in ("03-01/a b", "en", "x/fr"):
        assert {source_key(row("ravdess", name, language)) for language in ("en", "de")} == {f"ravdess/{name}"}


def test_rows_with_audio_reads_the_selected_rows_only(folder, rows):
    wanted = {clip["id"] for clip in rows["fr"][::3]}
    batches = list(BuiltCorpus(folder).rows_with_audio(lambda clip: clip["id"] in wanted))
    found = {clip["id"]: clip["audio"] for batch in batches for clip in batch}
    assert found == {clip["id"]: clip["audio"] for clip in rows["fr"][::3]}
    assert all(len(batch) <= 32 for batch in batches)


def zero(path):
    """Overwrite a file with as many zeros."""
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("damage", "source"),
    [
        (lambda folder: folder.rename(folder.with_name("gone")), "m5ser"),
        (lambda folder: [path.unlink() for path in folder.glob("data/*/*")], "m5ser"),
        (
            lambda folder: next(folder.glob("data/fr/*")).write_bytes(b"PAR1 and no more"),
            ".parquet",
        ),
        (lambda folder: zero(next(folder.glob("data/fr/*"))), ".parquet"),
        (lambda folder: next(folder.glob("data/fr/*")).unlink(), ".parquet"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json"),
    ],
)
def test_damaged_folder_raises_with_the_file(folder, damage, source):
    def read():
        corpus = BuiltCorpus(folder)
        list(corpus.rows())
        return corpus.manifest

    damage(folder)
    with pytest.raises(BuiltCorpusError) as raised:
        read()
    assert raised.value.source.endswith(source) and "m5ser build" in raised.value.fix


def test_overview_counts_every_row(folder, rows):
    counted = overview(BuiltCorpus(folder), progress=False)
    everything = [clip for language in rows.values() for clip in language]
    assert counted["rows"] == len(everything)
    assert counted["hours"] == pytest.approx(sum(clip["duration"] for clip in everything) / 3600)
    assert counted["languages"] == ["en", "fr"] and counted["emotions"] == list(EMOTIONS)
    for cell in counted["cells"]:
        own = [
            clip
            for clip in everything
            if (clip["source_corpus"], clip["language"], clip["emotion"])
            == (cell["source_corpus"], cell["language"], cell["emotion"])
        ]
        assert cell["clips"] == len(own) > 0
        assert cell["hours"] == pytest.approx(sum(clip["duration"] for clip in own) / 3600)
    assert sum(cell["clips"] for cell in counted["cells"]) == len(everything)
    speakers = counted["speakers"]["source_corpora"]
    assert speakers["ravdess"]["speakers"] == 4 and speakers["meld"]["speakers"] == 2
    assert speakers["ravdess"]["genders"] == {"female": 4}
    # English has seven clips of each speaker; three French ones of the first speaker are missing.
    assert speakers["ravdess"]["clips_per_speaker"]["histogram"] == [[7, 4]]
    lengths = [clip["duration"] for clip in rows["fr"]]
    assert dict(counted["durations"]["fr"]["histogram"]) == {t: lengths.count(t) for t in (0.5, 0.75)}
    assert counted["rejects"]["total"] == 3
    first = counted["rejects"]["reasons"][0]
    assert first == {"stage": "filter", "reason": "… s long", "clips": 2, "languages": {"fr": 2}}


def test_overview_counts_missing_values_as_unknown(tmp_path):
    clip = row("mosei", "1", "en") | {"emotion": None, "speaker": None, "gender": None, "duration": 0.5}
    folder = write_m5ser(tmp_path / "m5ser", {"en": [clip]})
    counted = overview(BuiltCorpus(folder), progress=False)
    assert counted["emotions"] == ["no emotion"]
    assert counted["speakers"] == {"source_corpora": {}, "rows_without_speaker": 1}
    assert counted["rejects"] == {"total": 0, "reasons": []}
