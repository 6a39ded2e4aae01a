# SPDX-License-Identifier: Apache-2.0
"""The model card beside a trained checkpoint, filled from what was done and measured."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from data_mser.whole_files import whole_file
from modeling_mser import MSERConfig
from processing_mser import LabelSet, MSERProcessor

from .clips import Clip


def write_model_card(
    output_dir: str | Path,
    config: MSERConfig,
    processor: MSERProcessor,
    labels: LabelSet,
    train: Sequence[Clip],
    results: Mapping[str, Any],
) -> None:
    """
    Writes `README.md`, whole or not at all.

    Args:
        output_dir: of the checkpoint.
        config: of the model.
        processor: of the model.
        labels: the label set.
        train: the training clips.
        results: what `train_results.json` holds.
    """
    languages = sorted({clip.row["language"] for clip in train if clip.row["language"]})
    parts = {"audio encoder": config.audio_backbone, "language model": config.text_backbone}
    backbones = {part: place for part, place in parts.items() if place is not None}
    counts = Counter(clip.emotion for clip in train)
    data = ModelCardData(
        language=languages or None,
        library_name="transformers",
        pipeline_tag="audio-classification",
        # A path on this machine names no repository.
        base_model=[place for place in backbones.values() if not Path(place).exists()] or None,
        tags=["speech-emotion-recognition", "audio", "multilingual", "mser"],
    )
    card = ModelCard.from_template(
        data,
        template_path=str(_template()),
        model_name=Path(output_dir).as_posix(),
        version=_version(),
        words=list(labels.words),
        emotions={word: counts[word] for word in labels.words},
        backbones=backbones,
        corpora=sorted({clip.row["corpus"] for clip in train}),
        languages=languages or ["languages that were not stated"],
        prompt_version=processor.prompt_version,
        clips=results["clips"],
        parameters=results["parameters"],
        validation=results["validation"],
    )
    with whole_file(Path(output_dir) / "README.md") as file:
        file.write(str(card))


def _template() -> Any:
    checkout = Path(__file__).resolve().parent.parent / "hub_cards"
    folder = checkout if checkout.is_dir() else files("hub_cards_mser")
    return folder / "model_card.md.j2"


def _version() -> str:
    try:
        return version("mser-llm")
    except PackageNotFoundError:
        return "(a checkout)"
