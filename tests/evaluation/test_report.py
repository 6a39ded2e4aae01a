# SPDX-License-Identifier: Apache-2.0
"""The report: one self-contained page."""

import base64
import dataclasses
import io
import re
import warnings

import numpy as np
import pytest
import soundfile
from html_page import Page
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager
from matplotlib.ft2font import FT2Font
from PIL import Image

from mser_llm.evaluation.evaluation import evaluate_corpora
from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.evaluation.plots import (
    confusion_figure,
    curve_figure,
    embedding_figure,
    inline_svg,
    loss_keys,
    score_keys,
    write_png,
)
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols.leaks import LeakReport
from mser_llm.evaluation.report import EmbeddingMap, ExamplePrediction, worst_errors, write_report
from mser_llm.evaluation.statistics.groups import gaps, summary
from mser_llm.io.errors import InputError
from processing_mser import UNPARSED, label_set


WORDS = label_set("seven").words
HISTORY = [
    {"loss": 2.0, "loss_contrast": 0.5, "learning_rate": 1e-3, "epoch": 0.5, "step": 1},
    {"eval_loss": 1.5, "eval_UA": 0.31, "eval_WA": 0.35, "eval_runtime": 1.0, "epoch": 1.0, "step": 2},
    {"loss": 1.0, "loss_contrast": 0.4, "learning_rate": 1e-4, "epoch": 1.5, "step": 3},
    {"train_loss": 1.5, "train_runtime": 9.0, "epoch": 2.0, "step": 4},
]


def corpus_metrics(occurring, seed, **more):
    generator = np.random.default_rng(seed)
    truths = [str(word) for word in generator.choice(occurring, 60)]
    predicted = [str(word) for word in generator.choice([*WORDS, UNPARSED, *truths], 60)]
    computed = emotion_metrics(truths, predicted, WORDS)
    return {**computed, "chance": 1 / len(WORDS), **more}


@pytest.fixture(scope="module")
def results():
    broken = [{"id": "a", "file": "/x.wav", "error": "/x.wav: is empty (0 bytes); copy it again"}]
    account = {"dropped": 3, "dropped_emotions": {"calm": 3}, "errors": 1, "error_clips": broken, "languages": ["el"]}
    return {
        "corpora": {
            "<greek> & co": corpus_metrics(WORDS, 0, **account),
            "emodb": corpus_metrics(WORDS[:4], 1, dropped=0, errors=0),
        },
        "pooled": corpus_metrics(WORDS, 2),
        "languages": {"el": corpus_metrics(WORDS, 3), "xx": corpus_metrics(WORDS, 4)},
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


def test_report_is_self_contained(full):
    page = Page(full)
    for tag, attributes in page.elements:
        assert tag not in ("link", "script", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "xlink:href", "data", "poster", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "://" not in full
    assert not re.search(r"url\((?!#)|@import", full)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0
    references = set(re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', full))
    assert references
    assert {first or second for first, second in references} <= set(ids)


def test_report_shows_every_metric_and_example(full, results):
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
    # Two corpora and the pooled one, two curves per stage, one map.
    assert page.count("svg") == 3 + 4 + 1
    sound, rate = played(page)
    assert (len(sound), rate) == (8000, 16000)
    assert "True label: sad" in full


def write_page(results, folder, **more) -> str:
    return write_report(results, folder / "report.html", **more).read_text(encoding="utf-8")


def played(page: Page):
    """Return the samples and the rate of the only sound of a page."""
    (source,) = [attributes["src"] for tag, attributes in page.elements if tag == "audio"]
    return soundfile.read(io.BytesIO(base64.b64decode(source.split(",")[1])))


def test_report_omits_empty_sections(results, tmp_path):
    bare = {key: value for key, value in results.items() if key not in ("pooled", "languages")}
    bare["corpora"] = {"emodb": results["corpora"]["emodb"]}
    page = Page(write_page(bare, tmp_path))
    for heading in ("Example prediction", "Training", "Map of", "in each language", "Configuration", ": 1 unreadable"):
        assert heading not in page.text
    assert page.count("audio") == 0
    assert page.count("svg") == 1


def test_report_accepts_results_json(tiny, tmp_path):
    wave = {"array": np.random.default_rng(0).standard_normal(8000), "sampling_rate": 16000}
    rows = [{"id": str(n), "audio": wave, "emotion": word, "language": "el"} for n, word in enumerate(WORDS)]
    results = evaluate_corpora(*tiny, {"demo": rows}, "seven", progress=False)
    assert f"{results['corpora']['demo']['UA']:.3f}" in Page(write_page(results, tmp_path)).text


def biased(hurt, field, clips=400):
    """Create predictions with 90 % accuracy, and 40 % in one group."""
    generator = np.random.default_rng(0)
    speakers = [f"s{n % 20}" for n in range(clips)]
    groups = [("female", "male")[n % 2] if field == "genders" else ("de", "el")[n % 2] for n in range(clips)]
    truths = [str(word) for word in generator.choice(WORDS[:4], clips)]
    predicted = [
        truth
        if generator.random() < (0.4 if group == hurt else 0.9)
        else str(generator.choice([word for word in WORDS[:4] if word != truth]))
        for truth, group in zip(truths, groups, strict=True)
    ]
    column = {"genders": ["female"] * clips, "languages": ["de"] * clips, field: groups}
    ids = [str(n) for n in range(clips)]
    return Predictions(WORDS[:4], ["emodb"] * clips, ids, truths, predicted, speakers=speakers, **column)


def results_of(predictions):
    """Build the results of an evaluation from predictions."""
    found = {"corpora": {"emodb": {**summary(predictions), "languages": sorted(set(predictions.languages))}}}
    base = {"labels": list(WORDS[:4]), "model": "m", "prompt": "v1", "versions": {}}
    return {**found, "gaps": gaps(found), **base}


def first_screen(page: str) -> str:
    """Return the text above the first section."""
    return Page(page[: page.index("<section>")] + "</main></body></html>").text


@pytest.mark.parametrize(("field", "hurt", "shown"), [("genders", "female", "female"), ("languages", "el", "Greek")])
def test_report_shows_planted_bias_first(field, hurt, shown, tmp_path):
    predictions = biased(hurt, field)
    results = results_of(predictions)
    screen = first_screen(write_page(results, tmp_path))
    (gap,) = results["gaps"]
    assert gap["worst"] == hurt
    assert 0.3 < gap["gap"] < 0.7
    assert f"{shown} {gap['groups'][hurt]:.3f}" in screen
    assert f"{gap['gap']:.3f} apart" in screen
    assert "No gap" not in screen


@pytest.fixture(scope="module")
def unbiased():
    return results_of(biased("nobody", "genders"))


def test_report_claims_no_gap_without_bias(unbiased, tmp_path):
    screen = first_screen(write_page(unbiased, tmp_path))
    assert "No gap" in screen
    assert " apart)" in screen
    low, high = unbiased["corpora"]["emodb"]["intervals"]["UA"]
    assert f"{low:.3f} to {high:.3f}: 95 % interval for other speakers (from 20 speakers)" in screen


def test_report_shows_allowed_leak_and_published_results(unbiased, tmp_path):
    leak = LeakReport(speakers=("emodb-03",), corpora=("emodb",), clips=40, tested=400)
    plan = {"name": "aesdd", "title": "t", "source": "s", "notes": ["n"]}
    page = write_page({**unbiased, "leak": leak.as_dict(), "protocol": plan}, tmp_path)
    assert "the corpus emodb, 1 of the speakers (40 of 400 clips)" in first_screen(page)
    text = Page(page).text
    section = text[text.index("Comparison with published results") :]
    # Table I of arXiv 2503.21806: the zero-shot row of AESDD, and ours below it.
    assert section.index("0.426") < section.index("measured here") < section.index("Results by group")
    assert f"{unbiased['corpora']['emodb']['WA']:.3f}" in section[: section.index("Results by group")]
    page = write_page({**unbiased, "leak": LeakReport(tested=400).as_dict()}, tmp_path)
    assert "of 400 clips" not in first_screen(page)


def test_report_worst_errors_are_playable(tmp_path):
    predictions = biased("female", "genders", 40)
    wave = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    soundfile.write(tmp_path / "clip.wav", wave, 16_000)
    scores = np.full((40, 4), 0.1)
    for index, prediction in enumerate(predictions.predicted):
        scores[index, WORDS.index(prediction)] = 0.7
    files = [str(tmp_path / "clip.wav"), *[str(tmp_path / "gone.wav")] * 39]
    wrong = next(i for i in range(40) if predictions.predicted[i] != predictions.truths[i])
    files[0], files[wrong] = files[wrong], files[0]
    playable = dataclasses.replace(predictions, scores=scores, files=files)
    captions = [f"clip {index} of <40>" for index in range(40)]
    embeddings = EmbeddingMap(scores, playable.truths, ["de"] * 40, captions)
    page = Page(write_page(results_of(playable), tmp_path, predictions=playable, embeddings=embeddings))
    sound, _ = played(page)  # the only error whose file exists
    assert np.abs(sound - wave).max() < 1e-4
    assert all(caption in page.text for caption in captions)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("other_name", [None, "STIX-General: A"])
def test_fallback_fonts_cover_all_scripts(other_name, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """The second name has the characters of font patterns."""
    names = ("DejaVu Sans", "STIXGeneral")
    usual, other = (set(FT2Font(findfont(name)).get_charmap()) for name in names)
    if other_name is not None:
        # The files read above, because machines list the weights of a family in different orders.
        files = [findfont(name) for name in names]
        fonts = [next(font for font in fontManager.ttflist if font.fname == file) for file in files]
        monkeypatch.setattr(fontManager, "ttflist", [fonts[0], dataclasses.replace(fonts[1], name=other_name)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_png(confusion_figure([[3, 1], [0, 2]], [f"so {chr(min(other - usual))}", "sad"]), tmp_path / "c.png")
    assert Image.open(tmp_path / "c.png").size[0] > 100
    unknown = confusion_figure([[3, 1], [0, 2]], ["\U0010fffd", "sad"])  # of private use, in no font
    with pytest.warns(UserWarning, match="no installed font has these characters") as caught:
        write_png(unknown, tmp_path / "boxes.png")
    assert not [one for one in caught if "Glyph" in str(one.message)]


def test_plots_draw_dollar_signs_literally(tmp_path):
    labels = ["$x^2$", "$\\undefined$", "a$"]  # a formula, an invalid one, and an incomplete one
    matrix = [[3, 1, 0], [0, 2, 0], [1, 0, 1]]
    figure = confusion_figure(matrix, labels, title="$\\sqrt$")
    write_png(figure, tmp_path / "confusion.png")
    svg = inline_svg(figure, "confusion")
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert all(drawn.count(label) == 2 for label in labels)
    assert "$\\sqrt$" in drawn
    points = np.random.default_rng(0).random((4, 2))
    svg = inline_svg(embedding_figure(points, [*labels, labels[0]], ["en", "$de$", "en", "en"]), "map")
    assert {*labels, "$de$"} <= {*re.findall(r"<text[^>]*>([^<]*)</text>", svg)}


def test_confusion_figure_shows_shares_and_counts():
    figure = confusion_figure([[3, 1], [0, 0]], ["happy", "sad"], unparsed=[4, 0])
    # 3, 1 and 4 of a row of 8; a row without clips has no shares.
    assert texts(figure) == ["38", "3", "12", "1", "50", "4", "–", "–", "–"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["happy", "sad", "unparsed"]
    assert len(texts(confusion_figure([[1, 0], [0, 1]], ["happy", "sad"]))) == 6


@pytest.mark.parametrize("unparsed", [None, [1, 2]])
def test_confusion_figure_keeps_long_titles(unparsed, tmp_path):
    figure = confusion_figure([[5, 1], [2, 1000]], ["a", "b"], unparsed, "a_corpus" + 40 * "_")
    write_png(figure, tmp_path / "two.png")
    picture = np.asarray(Image.open(tmp_path / "two.png").convert("L"))
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert edge.min() == 255, "something is cut off"
    (axes,) = figure.axes
    assert axes.get_window_extent().height / figure.dpi / 2 > 0.4, "cells in inches, for two lines of text"


def test_inline_svg_uses_page_colors_and_escapes():
    svg = inline_svg(confusion_figure([[1, 0], [0, 1]], ["<b>", "a & b"]), 'two "words" <i>')
    assert all(part in svg for part in ("var(--ink)", "var(--accent)", "&lt;b&gt;"))
    assert "<b>" not in svg and "<i>" not in svg


def test_curves_of_log_history():
    """The Trainer logs the best checkpoint again at the last epoch."""
    assert loss_keys(HISTORY) == ["loss", "eval_loss", "loss_contrast"]
    assert score_keys(HISTORY) == ["eval_UA", "eval_WA"]
    assert (loss_keys([]), score_keys([])) == ([], [])
    epochs = [{"epoch": float(epoch), "eval_UA": value} for epoch, value in ((1, 0.5), (2, 0.9), (3, 0.7))]
    figure = curve_figure([*epochs, {"epoch": 3.0, "eval_UA": 0.9}], ["eval_UA"], "UA")
    (line,) = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[1.0, 0.5], [2.0, 0.9], [3.0, 0.7]]


def test_embedding_figure_projects_to_principal_plane():
    generator = np.random.default_rng(0)
    plane = generator.standard_normal((50, 2)) * [9, 4]
    basis = np.linalg.qr(generator.standard_normal((6, 6)))[0][:2]
    figure = embedding_figure(plane @ basis + 5, ["happy"] * 50, ["el"] * 50)
    drawn = figure.axes[0].collections[0].get_offsets()
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(drawn[:, None] - drawn[None], axis=-1), distances, atol=1e-8)
    with pytest.raises(InputError, match="embeddings"):
        embedding_figure(np.zeros((3, 2)), ["happy"] * 2, ["el"] * 3)


def test_worst_errors_are_sorted_and_limited_per_confusion():
    def system(pairs, probabilities):
        truths, predicted = zip(*pairs)
        scores = np.full((len(pairs), len(WORDS)), 0.01)
        scores[range(len(pairs)), [WORDS.index(word) for word in predicted]] = probabilities
        ids = [str(number) for number in range(len(pairs))]
        return Predictions(WORDS, ["c"] * len(ids), ids, list(truths), list(predicted), scores)

    given = system([("sad", "happy"), ("sad", "sad"), ("angry", "sad")], [0.6, 0.99, 0.8])
    assert worst_errors(given) == [2, 0]
    assert worst_errors(dataclasses.replace(given, scores=None)) == []
    given = system([("sad", "happy")] * 5 + [("happy", "sad")], [0.9, 0.95, 0.91, 0.92, 0.93, 0.5])
    assert worst_errors(given) == [1, 4, 5]
    assert worst_errors(given, count=1) == [1]
    assert worst_errors(given, of_a_pair=4) == [1, 4, 3, 2, 5]
