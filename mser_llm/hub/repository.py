# SPDX-License-Identifier: Apache-2.0
"""Build the folder of a model's repository: weights, code, card, examples and endpoint handler."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from modeling_mser.backbone_files_mser import hub_id_of_backbone
from modeling_mser.checkpoint_mser import reloadable_parts
from mser_llm.hub.eval_results import read_results
from mser_llm.hub.example_clips import ExampleClip, example_clips
from mser_llm.hub.model_card import CARD, WidgetExample, render_model_card, training_results
from mser_llm.inference.loading import load_model
from mser_llm.inference.recognizer import EmotionRecognizer
from mser_llm.io.errors import InputError
from mser_llm.io.packaged_folders import packaged_folder


HANDLER = "handler.py"
REQUIREMENTS = "requirements.txt"
# Requirements of the code in a model's repository, for endpoints and Spaces.
MODEL_REQUIREMENTS = "transformers>=5.20,<6\ntorch>=2.6\nsoundfile>=0.12.1\nsoxr>=0.5\n"
WIDGET = "widget"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def build_repository(
    model: str, folder: Path, repo_id: str, evaluations: Sequence[str] = (), include_backbones: bool = False
) -> tuple[tuple[str, ...], Sequence[ExampleClip]]:
    """
    Write the model, its processor, their code, the card, the examples, the endpoint handler and its requirements.

    The same model gives the same bytes, so that a push skips files that are already on the Hub.

    Args:
        model: folder of a trained model.
        folder: an empty one.
        repo_id: id on the Hub.
        evaluations: paths of `results.json` files of `run-mser evaluate`.
        include_backbones: also write the frozen parts.

    Returns:
        The candidate labels, and the examples, none if the extra `demo` is not installed.

    Raises:
        ValueError: there is no model; a frozen part exists only on this machine; a file contains no results, or
            results on speakers of the training.
    """
    record, evaluated = _read_records(model, evaluations)
    recognizer = EmotionRecognizer(*load_model(model, "cpu"))
    network = recognizer.model
    _remove_local_backbones(network.config, include_backbones)
    network.save_pretrained(str(folder), include_backbones=include_backbones)
    recognizer.processor.save_pretrained(str(folder))
    (folder / HANDLER).write_bytes((packaged_folder("hub_cards") / HANDLER).read_bytes())
    (folder / REQUIREMENTS).write_text(MODEL_REQUIREMENTS, encoding="utf-8")
    clips = example_clips(recognizer.labels)
    for clip in clips:
        (folder / WIDGET).mkdir(exist_ok=True)
        (folder / WIDGET / clip.name).write_bytes(clip.flac)
    widgets = []
    for clip, result in zip(clips, recognizer([clip.flac for clip in clips]), strict=True):
        assert result.scores is not None, "the project's own clips can be read"
        ranked = sorted(result.scores.items(), key=lambda item: -item[1])
        output = [{"label": label, "score": round(score, 4)} for label, score in ranked]
        widgets.append(WidgetExample(f"{WIDGET}/{clip.name}", clip.title, output))
    card = render_model_card(folder, record, repo_id=repo_id, evaluations=evaluated, widgets=widgets)
    (folder / CARD).write_text(card, encoding="utf-8")
    return recognizer.labels, clips


def build_adapter_repository(model: str, folder: Path, repo_id: str, evaluations: Sequence[str] = ()) -> None:
    """
    Write only the adapters of the language model, as `PeftModel.from_pretrained` loads them, and a card.

    Args: as for `build_repository`, with a model that was trained with `--lora`.

    Raises:
        ValueError: there is no model, it has no adapters, or they adapt a language model that exists only here; see
            `read_results` too.
        ImportError: peft is not installed.
    """
    from peft import LoraConfig, get_peft_model_state_dict

    record, evaluated = _read_records(model, evaluations)
    network, _ = load_model(model, "cpu")
    config = network.config
    fix = "leave --adapter_only out, to push the complete model"
    if config.lora is None:
        raise InputError(model, "has no adapters", "train with --lora, or leave --adapter_only out")
    if config.text_backbone is None:
        raise InputError(model, "its language model is not from the Hub, so adapters alone are useless to others", fix)
    if Path(config.text_backbone).exists():
        problem = f"its language model is the local folder {config.text_backbone}, which others do not have"
        raise InputError(model, problem, fix)
    if hub_id_of_backbone(config.text_backbone) != config.text_backbone:
        problem = f"its language model {config.text_backbone} is a GGUF file, which PEFT cannot load"
        raise InputError(model, problem, fix)
    base = {"base_model_name_or_path": config.text_backbone, "revision": config.text_backbone_revision}
    LoraConfig(**config.lora, **base, task_type="CAUSAL_LM", inference_mode=True).save_pretrained(str(folder))
    weights = get_peft_model_state_dict(network.language_model, adapter_name="default")
    # PeftModel prefixes the names of its weights so.
    named = {f"base_model.model.{name}": value.contiguous().cpu() for name, value in weights.items()}
    save_file(named, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    with tempfile.TemporaryDirectory() as complete:
        # The card describes the model of a folder.
        Path(complete, "config.json").write_text(config.to_json_string(), encoding="utf-8")
        card = render_model_card(complete, record, repo_id=repo_id, evaluations=evaluated, adapter_only=True)
    (folder / CARD).write_text(card, encoding="utf-8")


def _read_records(model: str, evaluations: Sequence[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    record = training_results(Path(model).expanduser())
    return record, [read_results(path, record.get("speakers", ())) for path in evaluations]


def _remove_local_backbones(config: Any, include_backbones: bool) -> None:
    """Remove local paths from the configuration; raise if a frozen part would be lost."""
    for part in ("audio", "text"):
        place = getattr(config, f"{part}_backbone")
        if place is None or not Path(place).exists():
            continue
        if not include_backbones and part in reloadable_parts(config):
            problem = f"the {part} backbone exists only on this machine"
            raise InputError(place, problem, "pass --include_backbones to send its weights")
        setattr(config, f"{part}_backbone", None)
        getattr(config, f"{part}_config")._name_or_path = ""
