# SPDX-License-Identifier: Apache-2.0
"""`--lora` trains adapters over a frozen language model, and a resumed run gives the same weights."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modeling_mser import MSERForEmotionGeneration
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.model_building import build_model
from mser_llm.training.run_training import train


pytest.importorskip("peft")


def test_lora_adapters_are_trained_saved_and_resumed(rows, recipe, tmp_path: Path, first_stage: Path):
    first, second, resumed = str(first_stage), str(tmp_path / "second"), str(tmp_path / "resumed")
    flags = ["--init_from", first, "--lora", "--lora_rank", "2", "--freeze_text", "true", "--num_train_epochs", "2"]
    train(rows, *recipe(*flags, "--output_dir", second))

    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (first, second))
    adapters = {name: value for name, value in after.items() if ".lora_B." in name}
    assert adapters and all(value.abs().max() > 0 for value in adapters.values())
    for name, value in before.items():
        if name.startswith("language_model."):
            kept = after.get(name, after.get(name.replace(".weight", ".base_layer.weight")))
            assert torch.equal(kept, value), f"{name} moved, though it is frozen"
    model = MSERForEmotionGeneration.from_pretrained(second)
    assert model.config.lora["r"] == 2

    # As after a kill in the second epoch.
    shutil.copytree(second, resumed)
    last = max(Path(resumed).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    shutil.rmtree(last)
    (Path(resumed) / "train_results.json").unlink()
    (Path(resumed) / "model.safetensors").unlink()
    train(rows, *recipe(*flags, "--output_dir", resumed))
    again = load_file(Path(resumed) / "model.safetensors")
    assert again.keys() == after.keys()
    assert all(torch.equal(again[name], after[name]) for name in after)


def test_lora_second_stage_trains_in_full_precision(tmp_path: Path, make_tiny):
    model, processor = make_tiny()
    model.language_model.to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)

    def precisions(**settings) -> tuple[set, set]:
        second, _ = build_model(ModelArguments(init_from=str(tmp_path), **settings), ["happy", "sad"])
        parts = {True: set(), False: set()}
        for name, parameter in second.language_model.named_parameters():
            parts["lora_" in name].add(parameter.dtype)
        return parts[False], parts[True]

    assert precisions(freeze_text=False, backbone_dtype="bfloat16") == ({torch.float32}, set())
    assert precisions(lora=True, backbone_dtype="bfloat16") == ({torch.bfloat16}, {torch.float32})


def test_lora_rejects_a_trained_language_model():
    with pytest.raises(ValueError, match="freeze_text: true"):
        ModelArguments(lora=True, freeze_text=False)
