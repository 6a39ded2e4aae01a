# SPDX-License-Identifier: Apache-2.0
"""Write the model card from the records of the training and its evaluations."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from modeling_mser.backbone_files_mser import PACKAGED_MODELS, hub_id_of_backbone
from modeling_mser.checkpoint_mser import reloadable_parts
from mser_llm.data.licenses import card_license
from mser_llm.data.lineage import (
    datasets_of_stages,
    is_synthetic,
    languages_of_stages,
    parents_of_stages,
    source_table,
    stages_of_model,
    terms_of_stages,
)
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.hub.eval_results import metric_rows, model_index
from mser_llm.inference.model_types import find_model_type
from mser_llm.io.atomic_files import atomic_open
from mser_llm.io.packaged_folders import packaged_folder


CARD = "README.md"


@dataclass(frozen=True)
class WidgetExample:
    """A clip in the repository, with its title and this model's `{"label", "score"}`, the most probable first."""

    src: str
    title: str
    output: Sequence[Mapping[str, Any]]


def write_model_card(folder: str | Path, results: Mapping[str, Any]) -> None:
    """Write `README.md` into the folder of a trained model atomically, given the content of `train_results.json`."""
    with atomic_open(Path(folder) / CARD) as file:
        file.write(render_model_card(folder, results))


def render_model_card(
    folder: str | Path,
    results: Mapping[str, Any] | None = None,
    repo_id: str | None = None,
    evaluations: Sequence[Mapping[str, Any]] = (),
    widgets: Sequence[WidgetExample] = (),
    adapter_only: bool = False,
) -> str:
    """Return the card as text.

    Args:
        folder: with the model and its processor.
        results: content of `train_results.json`; by default read from the folder. Without it, the card states that the
            training is unknown.
        repo_id: id on the Hub; without it, the card describes the local folder.
        evaluations: as `read_results` returns them, for the card's table and its `model-index`.
        widgets: clips in the repository.
        adapter_only: the repository contains only the adapters of the language model.
    """
    root = Path(folder)
    config = json.loads((root / "config.json").read_text(encoding="utf-8"))
    results = results if results is not None else training_results(root)
    data = results.get("data", {})
    stages = stages_of_model(config, data)
    terms = terms_of_stages(stages)
    names = {"text": "language model"} if adapter_only else {"audio": "audio encoder", "text": "language model"}
    places = {part: config.get(f"{part}_backbone") for part in names}
    backbones = {part: place for part, place in places.items() if place is not None}
    backbone_ids = [hub_id for place in backbones.values() if (hub_id := hub_id_of_backbone(place)) is not None]
    # Adapters fit the language model only.
    base_models = backbone_ids if adapter_only else list(dict.fromkeys([*parents_of_stages(stages), *backbone_ids]))
    network = find_model_type(config["model_type"]).network
    # Parts that were trained are in the folder.
    absent = [] if config.get("includes_backbones") else reloadable_parts(network.config_class.from_dict(config))
    left_out = {names[part]: _origin(backbones[part], repo_id) for part in absent if part in backbones}
    name = repo_id.split("/")[-1] if repo_id is not None else None
    not_stated = {"license": "other", "license_name": "not-stated", "license_link": CARD}
    words = data.get("labels") or config.get("emotion_words") or []
    languages = languages_of_stages(stages)
    # A folder's name is not descriptive.
    title = "Speech emotion recognition" + (f": {', '.join(words)}" if words else "")
    title += f" ({', '.join(languages)})" if languages else ""
    try:
        package_version = version("mser-llm")
    except PackageNotFoundError:
        package_version = "(a checkout)"
    card_data = ModelCardData(
        language=languages or None,
        **(card_license(terms) if terms else not_stated),
        library_name="peft" if adapter_only else "transformers",
        pipeline_tag=None if adapter_only else "audio-classification",
        base_model=base_models or None,
        datasets=datasets_of_stages(stages) or None,
        tags=["speech-emotion-recognition", "audio", "multilingual", "mser"],
        metrics=["recall", "accuracy", "f1"] if evaluations else None,
        widget=[{"src": one.src, "example_title": one.title, "output": [*map(dict, one.output)]} for one in widgets]
        or None,
        model_name=name,
        eval_results=model_index(evaluations) or None,
    )
    card = ModelCard.from_template(
        card_data,
        template_path=str(packaged_folder("hub_cards") / "model_card.md.j2"),
        title=name or title,
        version=package_version,
        repo_id=repo_id,
        adapter_only=adapter_only,
        model_type=config["model_type"],
        data=data,
        languages=list(data.get("languages", {})) or ["languages that were not stated"],
        words=words,
        learned_words=config.get("learned_words"),
        backbones=left_out,
        base_models=base_models,
        sources=source_table(stages),
        num_stages=len(stages),
        synthetic=is_synthetic(stages),
        non_commercial=[one.title for one in terms if one.non_commercial],
        clips=results.get("clips"),
        parameters=results.get("parameters", {}),
        validation=results.get("validation"),
        evaluations=metric_rows(evaluations),
        widgets=widgets,
        citations=[one.citation for one in terms if one.citation],
    )
    return str(card)


def training_results(folder: str | Path) -> dict[str, Any]:
    """Return the content of a folder's `train_results.json`; empty if there is none."""
    try:
        return json.loads((Path(folder) / TRAIN_RESULTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _origin(backbone: str, repo_id: str | None) -> str:
    """Describe where a backbone comes from, for readers of the card."""
    if (packaged := PACKAGED_MODELS.get(backbone)) is not None:
        return f"`{backbone}`, from the package {packaged.package} {packaged.version} on PyPI"
    if repo_id is None or hub_id_of_backbone(backbone) is not None:
        return f"`{backbone}`"
    return f"`{Path(backbone).name}, a folder of the person who trained it`"
