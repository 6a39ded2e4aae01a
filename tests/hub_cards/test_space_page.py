# SPDX-License-Identifier: Apache-2.0
"""The functions behind the buttons of the Space page, without a browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mser_llm.hub.space import local_page, space_program
from mser_llm.inference.loading import load_model
from mser_llm.inference.recognition import recognize


pytest.importorskip("gradio", reason="the page needs gradio")


def button(page: Any, name: str) -> Callable:
    """Return the function of a button by its API name."""
    return next(event.fn for event in page.fns.values() if event.api_name == name)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "clip.flac", 0.1 * np.sin(np.arange(16_000)), 16_000)
    return str(tmp_path / "clip.flac")


def test_examples_are_not_deleted_with_recordings(clip: str, tmp_path: Path, monkeypatch):
    from gradio.route_utils import delete_files_created_by_app

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    page = space_program().build(lambda sounds, words: [], ["happy", "sad"], "model", [clip])
    delete_files_created_by_app(page, age=None)
    given = button(page, "load_example")((0, [clip]))["value"]
    assert soundfile.info(given["path"]).duration == 1


def test_page_accepts_labels_in_any_case_and_reports_errors(tiny_model_dir: Path, clip: str):
    page = local_page(str(tiny_model_dir), "cpu", Path(clip).parent)
    scores, line = button(page, "analyse")(clip, "Happy,  sad , Fear")
    network, processor = load_model(str(tiny_model_dir), "cpu")
    (expected,) = recognize(network, processor, [clip], ["happy", "sad", "fear"])
    assert line == "" and scores == pytest.approx(expected.scores, abs=1e-6)
    # Unlearned labels give a message with the learned ones.
    scores, line = button(page, "analyse")(clip, "furious, happy")
    assert scores is None and all(word in line for word in ("furious", "neutral", "disgust"))
    scores, line = button(page, "analyse")(clip, "happy, Happy")
    assert scores is None and "repeats happy" in line
    empty, silent = Path(clip).with_name("empty.wav"), Path(clip).with_name("silent.wav")
    empty.touch()
    soundfile.write(silent, np.zeros(32_000), 16_000)
    for file, sentence in ((empty, "not readable audio"), (silent, "The recording is silent"), (None, "no recording")):
        scores, line = button(page, "analyse")(file and str(file), "happy, sad")
        assert scores is None and sentence in line


def test_page_shows_the_labels_of_the_scores(clip: str):
    """The pipeline knows synonyms and cases, and the Space does not."""
    page = space_program().build(lambda sounds, words: [{"happy": 0.75, "sad": 0.25}], ["happy", "sad"], "model")
    assert button(page, "analyse")(clip, "Happy, Sad") == ({"happy": 0.75, "sad": 0.25}, "")


def stage(*corpora: str, translator: str | None = None) -> dict[str, Any]:
    return {"sources": [{"corpus": name, "translator": translator} for name in corpora]}


@pytest.mark.parametrize(
    ("stages", "present", "absent"),
    [
        (None, ["not recorded"], ["synthetic"]),
        ([stage("demo-speech"), stage("demo-speech", translator="espeak")], ["synthetic speech only"], ["translat"]),
        ([stage("emodb"), stage("demo-speech")], ["emodb, synthetic speech"], ["only", "not recorded"]),
        ([stage("ravdess", "emodb"), stage("folder")], ["emodb, recordings of its author, ravdess"], ["synthetic"]),
        ([stage("ravdess"), stage("ravdess", translator="espeak")], ["ravdess, synthetic translations"], ["only"]),
        ([{"sources": None}, stage("demo-speech")], ["synthetic speech", "not recorded"], ["only"]),
    ],
)
def test_note_names_the_training_data(stages, present, absent):
    page = space_program().build(lambda sounds, words: [], ["happy", "sad"], "model", stages=stages)
    (note,) = (block.value for block in page.blocks.values() if "About this model" in str(getattr(block, "value", "")))
    assert all(words in note for words in present)
    assert not any(words in note for words in [*absent, "people who labelled"])
