# SPDX-License-Identifier: Apache-2.0
"""Everything that lies in the repository of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling_mser.checkpoint_mser import reloadable_parts
from mser_llm.data.synthesis.espeak import EspeakError
from mser_llm.hub.eval_results import read_results
from mser_llm.hub.example_clips import ExampleClip, example_clips
from mser_llm.hub.model_card import CARD, WidgetExample, render_model_card, training_results
from mser_llm.hub.requirements import MODEL_REQUIREMENTS
from mser_llm.inference.loading import load_model
from mser_llm.inference.recognition import recognize
from mser_llm.io.packaged_folders import packaged_folder
from processing_mser.emotions_mser import words_of_model


HANDLER = "handler.py"
REQUIREMENTS = "requirements.txt"
WIDGET = "widget"


@dataclass(frozen=True)
class Repository:
    """A folder as it is going to lie on the Hub.

    Attributes:
        folder: with all its files.
        words: the candidate words of the model.
        clips: the examples, none where the extra `demo` is not installed.
    """

    folder: Path
    words: tuple[str, ...]
    clips: Sequence[ExampleClip]


def build_repository(
    model: str, folder: Path, repo_id: str, evaluations: Sequence[str] = (), include_backbones: bool = False
) -> Repository:
    """
    Writes the model, its processor, their code, the card, the examples, the endpoint handler and its requirements.

    The same model gives the same bytes, so that a push knows what lies on the Hub already.

    Args:
        model: folder of a trained model.
        folder: an empty one.
        repo_id: where it is going to lie.
        evaluations: paths of `results.json` files that `run-mser evaluate` wrote.
        include_backbones: write the frozen parts too.

    Raises:
        ValueError: there is no model; a frozen part lies on this machine alone; a file holds no results, or results
            on speakers of the training.
    """
    record = training_results(Path(model).expanduser())
    figures = [read_results(path, record.get("speakers", ())) for path in evaluations]
    network, processor = load_model(model, "cpu")
    _refuse_local_backbones(network.config, include_backbones)
    network.save_pretrained(str(folder), include_backbones=include_backbones)
    processor.save_pretrained(str(folder))
    words = words_of_model(network.config.emotion_words)
    clips = _spoken(words)
    (folder / HANDLER).write_bytes((packaged_folder("hub_cards") / HANDLER).read_bytes())
    (folder / REQUIREMENTS).write_text(MODEL_REQUIREMENTS, encoding="utf-8")
    if clips:
        (folder / WIDGET).mkdir()
        for clip in clips:
            (folder / WIDGET / clip.name).write_bytes(clip.flac)
    widgets = _widgets(network, processor, clips, words)
    card = render_model_card(folder, record, repo_id=repo_id, evaluations=figures, widgets=widgets)
    (folder / CARD).write_text(card, encoding="utf-8")
    return Repository(folder, words, clips)


def _refuse_local_backbones(config: Any, include_backbones: bool) -> None:
    for part in ("audio", "text"):
        place = getattr(config, f"{part}_backbone")
        if place is None or not Path(place).exists():
            continue
        if not include_backbones and part in reloadable_parts(config):
            raise ValueError(
                f"the {part} backbone lies at {place} on this machine, where nobody else finds it; give "
                "--include_backbones to send its weights along"
            )
        # Its weights are in the checkpoint or come along, and its place here is nobody's business.
        setattr(config, f"{part}_backbone", None)
        getattr(config, f"{part}_config")._name_or_path = ""


def _spoken(words: Sequence[str]) -> Sequence[ExampleClip]:
    try:
        return example_clips(words)
    except EspeakError:
        return ()


def _widgets(network: Any, processor: Any, clips: Sequence[ExampleClip], words: Sequence[str]) -> list[WidgetExample]:
    """What this very model answers to the examples, as the Hub shows it."""
    widgets = []
    for clip, answer in zip(clips, recognize(network, processor, [clip.flac for clip in clips], words), strict=True):
        assert answer.scores is not None, "the project's own clips can be read"
        ranked = sorted(answer.scores.items(), key=lambda item: -item[1])
        output = [{"label": word, "score": round(score, 4)} for word, score in ranked]
        widgets.append(WidgetExample(f"{WIDGET}/{clip.name}", clip.title, output))
    return widgets
