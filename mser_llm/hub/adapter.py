# SPDX-License-Identifier: Apache-2.0
"""The adapters of a language model alone, in peft's own format: megabytes beside the gigabytes they adapt."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from mser_llm.hub.eval_results import read_results
from mser_llm.hub.model_card import CARD, render_model_card, training_results
from mser_llm.inference.loading import load_model


ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def build_adapter_repository(model: str, folder: Path, repo_id: str, evaluations: Sequence[str] = ()) -> None:
    """
    Writes what `PeftModel.from_pretrained` loads onto the language model that was adapted, and a card.

    Args:
        model: folder of a model that was trained with `--lora`.
        folder: an empty one.
        repo_id: where it is going to lie.
        evaluations: paths of `results.json` files that `run-mser evaluate` wrote.

    Raises:
        ValueError: there is no model, or it has no adapters, or they adapt a language model that nobody else finds;
            see `read_results` too.
        ImportError: peft is not installed.
    """
    record = training_results(Path(model).expanduser())
    figures = [read_results(path, record.get("speakers", ())) for path in evaluations]
    network, _ = load_model(model, "cpu")
    config = network.config
    if config.lora is None:
        raise ValueError(f"{model}: has no adapters to push alone; train with --lora, or leave --adapter_only out")
    if config.text_backbone is None or Path(config.text_backbone).exists():
        place = "came from nowhere else" if config.text_backbone is None else f"lies at {config.text_backbone}"
        raise ValueError(
            f"{model}: its language model {place}, where nobody finds what the adapters adapt; leave --adapter_only "
            "out, and the whole model is pushed"
        )
    _write_adapter(network, folder)
    with tempfile.TemporaryDirectory() as whole:
        # The card reads from a folder what the model is.
        Path(whole, "config.json").write_text(config.to_json_string(), encoding="utf-8")
        card = render_model_card(whole, record, repo_id=repo_id, evaluations=figures, adapter_only=True)
    (folder / CARD).write_text(card, encoding="utf-8")


def _write_adapter(network: Any, folder: Path) -> None:
    from peft import LoraConfig, get_peft_model_state_dict

    config = network.config
    adapted = LoraConfig(
        **config.lora,
        task_type="CAUSAL_LM",
        inference_mode=True,
        base_model_name_or_path=config.text_backbone,
        revision=config.text_backbone_revision,
    )
    adapted.save_pretrained(str(folder))
    weights = get_peft_model_state_dict(network.language_model, adapter_name="default")
    # The names that they have within a PeftModel, where alone peft looks for them.
    named = {f"base_model.model.{name}": value.contiguous().cpu() for name, value in weights.items()}
    save_file(named, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
