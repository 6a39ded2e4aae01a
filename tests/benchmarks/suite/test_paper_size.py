# SPDX-License-Identifier: Apache-2.0
"""The measurements for an accelerator, with tiny sizes on the CPU."""

import math

import pytest
import torch

from benchmarks.suite.paper_size import build_paper_model, paper_size
from benchmarks.suite.sizes import QUICK
from mser_llm.cli.bench import PAPER_RECIPE, _recipe
from mser_llm.training.arguments import ModelArguments


def tiny_arguments() -> ModelArguments:
    return ModelArguments(
        audio_backbone="somebody/whisper",
        text_backbone="somebody/llama",
        qformer_backbone="somebody/bert",
        audio_config=dict(QUICK.audio),
        qformer_config=dict(QUICK.qformer),
        text_config={"model_type": "llama", **QUICK.text},
        num_query_tokens=4,
    )


def test_paper_size_measures_without_backbones():
    comparisons = list(paper_size(tiny_arguments(), "cpu", seconds=1.0, batch_size=2, rounds=1, square=64))
    assert [comparison.unit for comparison in comparisons] == ["TFLOP/s", "tokens/s"]
    for comparison in comparisons:
        summary = comparison.summary
        assert math.isfinite(summary["ratio"]) and summary["ratio"] > 0


def test_paper_model_is_bfloat16_with_frozen_backbones():
    model = build_paper_model(tiny_arguments(), "cpu").model
    assert {parameter.dtype for parameter in model.language_model.parameters()} == {torch.bfloat16}
    trained = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"emotion_qformer", "projection"}


def test_paper_recipe_has_eight_billion_parameters(tmp_path):
    arguments, _ = _recipe(PAPER_RECIPE, str(tmp_path))
    model = build_paper_model(arguments, "meta").model
    parameters = sum(parameter.numel() for parameter in model.language_model.parameters())
    assert parameters == pytest.approx(8.03e9, rel=0.01)
