# SPDX-License-Identifier: Apache-2.0
"""The report: one page that holds everything and asks for nothing."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile
from html_page import Page
from matplotlib.figure import Figure

from evaluation_mser.metrics import emotion_metrics
from evaluation_mser.plots import confusion_figure, embedding_figure, inline_svg, loss_keys, score_keys
from evaluation_mser.report import EmbeddingMap, ExamplePrediction, write_report
from processing_mser import UNPARSED, label_set


WORDS = label_set("seven").words
HISTORY = [
    {"loss": 2.0, "loss_contrast": 0.5, "learning_rate": 1e-3, "epoch": 0.5, "step": 1},
    {"eval_loss": 1.5, "eval_UA": 0.31, "eval_WA": 0.35, "eval_runtime": 1.0, "epoch": 1.0, "step": 2},
    {"loss": 1.0, "loss_contrast": 0.4, "learning_rate": 1e-4, "epoch": 1.5, "step": 3},
    {"train_loss": 1.5, "train_runtime": 9.0, "epoch": 2.0, "step": 4},
]


def figures(occurring, seed, **more):
    generator = np.random.default_rng(seed)
    truths = [str(word) for word in generator.choice(occurring, 60)]
    answers = [str(word) for word in generator.choice([*WORDS, UNPARSED, *truths], 60)]
    computed = emotion_metrics(truths, answers, WORDS)
    return {**computed, "chance": 1 / computed["supported_labels"], **more}


@pytest.fixture(scope="module")
def results():
    broken = [{"id": "a", "file": "/x.wav", "error": "/x.wav: is empty (0 bytes); copy it again"}]
    account = {"dropped": 3, "dropped_emotions": {"calm": 3}, "errors": 1, "error_clips": broken, "languages": ["el"]}
    return {
        "corpora": {"<greek> & co": figures(WORDS, 0, **account), "emodb": figures(WORDS[:4], 1, dropped=0, errors=0)},
        "pooled": figures(WORDS, 2),
        "languages": {"el": figures(WORDS, 3), "xx": figures(WORDS, 4)},
        "labels": list(WORDS),
        "model": "runs/demo/model",
        "prompt": "v1",
        "prompt_text": "What is it?",
        "versions": {"torch": "2.13.0"},
        "merges": {"excited": "happy"},
        "decode": "generate",
    }


@pytest.fixture(scope="module")
def full(results, tmp_path_factory):
    generator = np.random.default_rng(0)
    wave = (0.2 * generator.standard_normal(8000)).astype(np.float32)
    example = ExamplePrediction(wave, "angry", dict(zip(WORDS, np.eye(7)[3])), truth="sad", caption="Greek")
    embeddings = EmbeddingMap(generator.standard_normal((40, 8)), list(WORDS[:4]) * 10, ["el", "ru"] * 20)
    path = write_report(
        results,
        tmp_path_factory.mktemp("report") / "deep" / "report.html",
        title="Three languages",
        log_history={"stage 1": HISTORY, "stage 2": HISTORY},
        embeddings=embeddings,
        example=example,
        configuration={"stage1": {"learning_rate": 0.001, "layers": [2, 3]}},
    )
    return path.read_text(encoding="utf-8")


def test_the_page_asks_for_nothing(full):
    page = Page(full)
    for tag, attributes in page.elements:
        assert tag not in ("link", "script", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "xlink:href", "data", "poster", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "://" not in full
    assert not re.search(r"url\((?!#)|@import", full)


def test_ids_are_unique_over_all_pictures_and_every_reference_is_met(full):
    ids = [attributes["id"] for _, attributes in Page(full).elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0
    references = set(re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', full))
    assert references
    assert {first or second for first, second in references} <= set(ids)


def test_the_page_tells_every_figure(full, results):
    page = Page(full)
    assert f"{results['pooled']['UA']:.3f}" in page.text
    for corpus in results["corpora"].values():
        for name in ("UA", "WA", "WF1", "macro_F1", "precision", "chance"):
            assert f"{corpus[name]:.3f}" in page.text
        assert all(f"{recall:.3f}" in page.text for recall in corpus["recall"].values() if recall is not None)
    for text in ("Three languages", "<greek> & co", "emodb", "runs/demo/model", "v1: “What is it?”", "Greek", "xx"):
        assert text in page.text
    for text in ("calm 3", "is empty (0 bytes)", "stage1.learning_rate", "2 3", "excited counts as happy", "2.13.0"):
        assert text in page.text
    # Two corpora and the pooled one, two curves a stage, one map.
    assert page.count("svg") == 3 + 4 + 1


def test_the_example_can_be_played(full):
    (source,) = [attributes["src"] for tag, attributes in Page(full).elements if tag == "audio"]
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(source.split(",")[1])))
    assert (len(sound), rate) == (8000, 16000)
    assert "The speaker was meant to sound sad." in full


def test_a_bare_evaluation_has_no_empty_sections(results, tmp_path):
    bare = {key: value for key, value in results.items() if key not in ("pooled", "languages")}
    bare["corpora"] = {"emodb": results["corpora"]["emodb"]}
    page = Page(write_report(bare, tmp_path / "report.html").read_text(encoding="utf-8"))
    for heading in ("One prediction", "Training", "Map of", "in each language", "Configuration", "unreadable clips"):
        assert heading not in page.text
    assert page.count("audio") == 0
    assert page.count("svg") == 1


def test_results_read_back_from_the_evaluation_make_a_report(tiny, tmp_path):
    from evaluation_mser.evaluation import evaluate_corpora

    wave = {"array": np.random.default_rng(0).standard_normal(8000), "sampling_rate": 16000}
    rows = [{"id": str(n), "audio": wave, "emotion": word, "language": "el"} for n, word in enumerate(WORDS)]
    results = evaluate_corpora(*tiny, {"demo": rows}, "seven", progress=False)
    page = Page(write_report(results, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert f"{results['corpora']['demo']['UA']:.3f}" in page.text


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_confusion_figure_shows_shares_and_counts():
    figure = confusion_figure([[3, 1], [0, 0]], ["happy", "sad"], unparsed=[4, 0])
    # 3, 1 and 4 of a row of 8; a row without a clip has no shares.
    assert texts(figure) == ["38", "3", "12", "1", "50", "4", "–", "–", "–"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["happy", "sad", "unparsed"]
    assert len(texts(confusion_figure([[1, 0], [0, 1]], ["happy", "sad"]))) == 6


def test_svg_takes_its_colours_from_the_page_and_escapes_words():
    svg = inline_svg(confusion_figure([[1, 0], [0, 1]], ["<b>", "a & b"]), 'two "words" <i>')
    assert "var(--ink)" in svg
    assert "var(--accent)" in svg
    assert "&lt;b&gt;" in svg
    assert "<b>" not in svg
    assert "<i>" not in svg


def test_curves_are_what_the_trainer_logged():
    assert loss_keys(HISTORY) == ["loss", "eval_loss", "loss_contrast"]
    assert score_keys(HISTORY) == ["eval_UA", "eval_WA"]
    assert (loss_keys([]), score_keys([])) == ([], [])


def test_embedding_map_projects_on_the_principal_plane():
    generator = np.random.default_rng(0)
    plane = generator.standard_normal((50, 2)) * [9, 4]
    basis = np.linalg.qr(generator.standard_normal((6, 6)))[0][:2]
    figure = embedding_figure(plane @ basis + 5, ["happy"] * 50, ["el"] * 50)
    drawn = figure.axes[0].collections[0].get_offsets()
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(drawn[:, None] - drawn[None], axis=-1), distances, atol=1e-8)


def test_embedding_map_refuses_unequal_lists():
    with pytest.raises(ValueError, match="give \\(num_clips, hidden_size\\)"):
        embedding_figure(np.zeros((3, 2)), ["happy"] * 2, ["el"] * 3)
