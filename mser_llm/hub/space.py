# SPDX-License-Identifier: Apache-2.0
"""The page of a model: run here, or pushed as a Space of the Hub."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Template

from mser_llm.data.synthesis.espeak import EspeakError
from mser_llm.hub.example_clips import ExampleClip, example_clips
from mser_llm.hub.requirements import MODEL_REQUIREMENTS
from mser_llm.inference.loading import load_model
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.io.packaged_folders import packaged_folder
from processing_mser.emotions_mser import words_of_model


# The tested version: the Hub installs the one that the Space's README asks for.
GRADIO = "6.31.0"


def space_program() -> ModuleType:
    """`hub_cards/space/app.py`, the one program for both places.

    Raises:
        ImportError: gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("the page needs gradio; pip install 'mser-llm[space]'")
    spec = importlib.util.spec_from_file_location("mser_space", packaged_folder("hub_cards") / "space" / "app.py")
    assert spec is not None and spec.loader is not None, "a file that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def local_page(model: str, device: str, folder: Path) -> Any:
    """The page over a model of this machine, with examples where the extra `demo` is installed.

    Args:
        model, device: as in `load_model`.
        folder: for the examples, as long as the page is served.

    Returns:
        a `gradio.Blocks`.
    """
    program = space_program()
    network, processor = load_model(model, device)
    words = words_of_model(network.config.emotion_words)

    def answer(sounds: list[dict[str, Any]], words: list[str]) -> list[dict[str, float]]:
        options = ScoringOptions(batch_size=len(sounds))
        answers = list(recognize(network, processor, sounds, processor.words(words), options))
        for one in answers:
            if one.scores is None:
                raise ValueError(one.error)
        return [dict(one.scores or {}) for one in answers]

    stages = getattr(network.config, "training_stages", None)
    return program.build(answer, words, Path(model).name, local_examples(words, folder), stages)


def local_examples(words: tuple[str, ...], folder: Path) -> list[str]:
    """Example clips as files of a folder; none where the extra `demo` is not installed."""
    try:
        clips = example_clips(words)
    except EspeakError:
        return []
    for clip in clips:
        (folder / clip.name).write_bytes(clip.flac)
    return [str(folder / clip.name) for clip in clips]


def write_space(folder: Path, repo_id: str, clips: Sequence[ExampleClip]) -> None:
    """Writes the files of a Space that shows a model of the Hub.

    Args:
        folder: an empty one.
        repo_id: of the model.
        clips: the examples.
    """
    source = packaged_folder("hub_cards") / "space"
    (folder / "app.py").write_bytes((source / "app.py").read_bytes())
    (folder / "requirements.txt").write_text(MODEL_REQUIREMENTS, encoding="utf-8")
    template = Template((source / "README.md.j2").read_text(encoding="utf-8"), keep_trailing_newline=True)
    (folder / "README.md").write_text(template.render(repo_id=repo_id, gradio=GRADIO), encoding="utf-8")
    for clip in clips:
        (folder / "examples").mkdir(exist_ok=True)
        (folder / "examples" / clip.name).write_bytes(clip.flac)
