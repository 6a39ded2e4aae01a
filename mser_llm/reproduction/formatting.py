# SPDX-License-Identifier: Apache-2.0
"""Format runs and numbers for the cells of a table."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.inference.model_types import find_model_type
from mser_llm.reproduction.evaluation_cache import read_json


def format_backbones(folder: Path) -> str:
    """
    Describe the encoder, its input to the rest of the model, and the language model of a trained model.

    Sizes are left out if the folder has no training record, as a model of the Hub.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parts = (read_json(folder / TRAIN_RESULTS) or {}).get("parameters", {})
    encoder = _format_part(config["audio_backbone"], "encoder", parts.get("audio_tower"), _has_frozen_encoder(config))
    if "encoder_layers" in config:
        layers = config["encoder_layers"]
        taken = f"layers {layers}" if isinstance(layers, str) else f"layer {', '.join(map(str, layers))}"
    else:
        taken = f"{config['max_seconds']:g} s"
    if "text_config" not in config:
        return f"{encoder}, {taken}; classifier"
    frozen = config["freeze_text"] and config.get("lora") is None
    language_model = _format_part(config["text_backbone"], "LLaMA", parts.get("language_model"), frozen)
    return f"{encoder}, {taken}; {language_model}"


def _has_frozen_encoder(config: Mapping[str, Any]) -> bool:
    by_type = find_model_type(config["model_type"]).freezes_encoder or config.get("trained_layers") == 0
    return config.get("freeze_audio", by_type)


def _format_part(backbone: str | None, kind: str, counts: Mapping[str, int] | None, frozen: bool) -> str:
    if counts is None:
        return f"{kind} from scratch" if backbone is None else Path(backbone).name + (" (frozen)" if frozen else "")
    millions = f"{counts['parameters'] / 1e6:.1f} M"
    if backbone is None:
        return f"{kind} of {millions} from scratch"
    trained = counts["trained"]
    part = "" if trained == counts["parameters"] else f", {trained / 1e6:.1f} M trained" if trained else ", frozen"
    return f"{Path(backbone).name} ({millions}{part})"


def format_training(results: Sequence[Mapping[str, Any]]) -> str:
    """Format the training corpora and their clips, stage by stage, from each stage's `train_results.json`."""
    stages = []
    for one in results:
        clips: Counter[str] = Counter()
        for source in one["data"]["sources"]:
            clips[f"{source['corpus']}{' translated' if source['translator'] else ''}"] += source["clips"]
        stages.append(" + ".join(f"{name} {count}" for name, count in clips.items()))
    return ", then ".join(stages)


def format_test(predictions: Predictions) -> str:
    """Format the test corpora and the number of clips that were scored."""
    return " + ".join(f"{name} {count}" for name, count in Counter(predictions.corpora).items())


def format_interval(summary: Mapping[str, Any]) -> str:
    """Format a result of `summarize_over_speakers` with its interval."""
    if summary["mean"] is None:
        return "–"
    interval = "" if summary["low"] is None else f" [{summary['low']:.2f}, {summary['high']:.2f}]"
    return with_minus_sign(f"{summary['mean']:.2f}{interval}")


def format_points(value: float) -> str:
    """Format a difference in percentage points, with its sign."""
    return with_minus_sign(f"{100 * value:+.1f}")


def with_minus_sign(number: str) -> str:
    """Replace the hyphen before a negative number by the minus sign."""
    return number.replace("-", "−")
