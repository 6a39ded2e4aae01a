# SPDX-License-Identifier: Apache-2.0
"""Build the page of a model, to serve here or to push as a Space."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Template

from mser_llm.hub.example_clips import ExampleClip, example_clips
from mser_llm.hub.repository import MODEL_REQUIREMENTS
from mser_llm.inference.recognizer import load
from mser_llm.io.packaged_folders import packaged_folder


# The tested version; the Hub installs the version in the Space's README.
GRADIO = "6.31.0"


def space_program() -> ModuleType:
    """Import `hub_cards/space/app.py`, the program of both the local page and the Space; it needs gradio."""
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("the page needs gradio; pip install 'mser-llm[space]'")
    spec = importlib.util.spec_from_file_location("mser_space", packaged_folder("hub_cards") / "space" / "app.py")
    assert spec is not None and spec.loader is not None, "a file that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def local_page(model: str, device: str, folder: Path) -> Any:
    """Build the page of a local model, a `gradio.Blocks`; with the extra `demo`, it has examples, in the folder."""
    program = space_program()
    recognizer = load(model, device)

    def predict(sounds: list[dict[str, Any]], labels: list[str]) -> list[dict[str, float]]:
        results = recognizer(sounds, labels=labels)
        for result in results:
            if result.scores is None:
                raise ValueError(result.error)
        return [dict(result.scores) for result in results]

    clips = example_clips(recognizer.labels)
    for clip in clips:
        (folder / clip.name).write_bytes(clip.flac)
    examples = [str(folder / clip.name) for clip in clips]
    stages = getattr(recognizer.model.config, "training_stages", None)
    return program.build(predict, recognizer.labels, Path(model).name, examples, stages)


def write_space(folder: Path, repo_id: str, clips: Sequence[ExampleClip]) -> None:
    """Write the files of a Space that shows a model of the Hub with examples into an empty folder."""
    source = packaged_folder("hub_cards") / "space"
    (folder / "app.py").write_bytes((source / "app.py").read_bytes())
    (folder / "requirements.txt").write_text(MODEL_REQUIREMENTS, encoding="utf-8")
    template = Template((source / "README.md.j2").read_text(encoding="utf-8"), keep_trailing_newline=True)
    (folder / "README.md").write_text(template.render(repo_id=repo_id, gradio=GRADIO), encoding="utf-8")
    for clip in clips:
        (folder / "examples").mkdir(exist_ok=True)
        (folder / "examples" / clip.name).write_bytes(clip.flac)
