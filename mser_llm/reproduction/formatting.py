# SPDX-License-Identifier: Apache-2.0
"""What a run is made of, in the few words that fit into a table."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.inference.model_types import find_model_type
from mser_llm.reproduction.measuring import read_json


def told_backbones(folder: Path) -> str:
    """The encoder with what is heard of it, and what answers, of a trained model's folder.

    Without a training record beside it, as with a model of the Hub, sizes are not told.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parts = (read_json(folder / TRAIN_RESULTS) or {}).get("parameters", {})
    encoder = _part(config["audio_backbone"], "encoder", parts.get("audio_tower"), _hears_frozen(config))
    if "encoder_layers" in config:
        layers = config["encoder_layers"]
        heard = f"layers {layers}" if isinstance(layers, str) else f"layer {', '.join(map(str, layers))}"
    else:
        heard = f"{config['max_seconds']:g} s"
    if "text_config" not in config:
        return f"{encoder}, {heard}; classifier"
    frozen = config["freeze_text"] and config.get("lora") is None
    return f"{encoder}, {heard}; {_part(config['text_backbone'], 'LLaMA', parts.get('language_model'), frozen)}"


def _hears_frozen(config: Mapping[str, Any]) -> bool:
    """Whether the configuration says that no layer of the encoder was trained."""
    by_type = find_model_type(config["model_type"]).freezes_encoder or config.get("trained_layers") == 0
    return config.get("freeze_audio", by_type)


def _part(backbone: str | None, kind: str, counts: Mapping[str, int] | None, frozen: bool) -> str:
    if counts is None:
        return f"{kind} from scratch" if backbone is None else Path(backbone).name + (" (frozen)" if frozen else "")
    millions = f"{counts['parameters'] / 1e6:.1f} M"
    if backbone is None:
        return f"{kind} of {millions} from scratch"
    trained = counts["trained"]
    part = "" if trained == counts["parameters"] else f", {trained / 1e6:.1f} M trained" if trained else ", frozen"
    return f"{Path(backbone).name} ({millions}{part})"


def told_training(results: Sequence[Mapping[str, Any]]) -> str:
    """Corpora with their clips, stage after stage, from what `train_results.json` of each stage holds."""
    return ", then ".join(_sources(one["data"]["sources"]) for one in results)


def _sources(sources: Sequence[Mapping[str, Any]]) -> str:
    clips: Counter[str] = Counter()
    for source in sources:
        clips[f"{source['corpus']}{' translated' if source['translator'] else ''}"] += source["clips"]
    return " + ".join(f"{name} {count}" for name, count in clips.items())


def told_test(predictions: Predictions) -> str:
    """Corpora with the clips that were scored."""
    return " + ".join(f"{name} {count}" for name, count in Counter(predictions.corpora).items())
