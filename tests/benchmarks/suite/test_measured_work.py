# SPDX-License-Identifier: Apache-2.0
"""Both sides of a comparison compute the same, and operations are counted as in torch."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.suite.comparisons import naive_loss, training_step
from benchmarks.suite.flops import recognition_flops, weight_shapes
from benchmarks.suite.scaling import Curve
from benchmarks.suite.sizes import QUICK
from benchmarks.suite.systems import build_own_model
from benchmarks.suite.word_scoring import one_pass_per_word
from processing_mser import PROMPTS


@torch.inference_mode()
@pytest.mark.parametrize("count", [1, 7, 50])
def test_one_pass_per_label_gives_the_same_scores(own, count: int):
    inputs, words = own.inputs(1.0, 2), own.candidates(count)
    torch.testing.assert_close(
        one_pass_per_word(own, inputs, words),
        own.model.score_emotions(**inputs, candidate_ids=words),
        atol=1e-4,
        rtol=0,
    )


def test_naive_step_has_the_same_loss_without_padding(own):
    text = own.processor.encode_text(2, ["happy", "sad"])
    inputs = own.inputs(1.0, 2)
    features = {name: inputs[name] for name in ("input_features", "input_features_mask")}
    with torch.no_grad():
        expected = own.model(**text, **features).loss
        torch.testing.assert_close(naive_loss(own, text, features), expected)


def test_measured_step_keeps_the_weights(own):
    before = {name: weight.clone() for name, weight in own.model.state_dict().items()}
    (comparison,) = training_step(QUICK, own)
    assert comparison.summary["ratio"] > 0 and not own.model.training
    assert all(torch.equal(before[name], weight) for name, weight in own.model.state_dict().items())


@pytest.mark.parametrize(("seconds", "count"), [(1.0, 7), (2.0, 50)])
def test_operation_count_equals_torch(seconds: float, count: int):
    """In the plain form, in which the counter knows every product, masked or not."""
    own = build_own_model(QUICK)
    model, words = own.model.requires_grad_(False), own.candidates(count)
    model.set_attn_implementation("eager")
    inputs = own.inputs(seconds, 1)
    with FlopCounterMode(display=False) as counter:
        model.score_emotions(**inputs, candidate_ids=words)
    text = model.config.text_config
    prefix, fed = inputs["input_ids"].shape[1], count
    hidden = (prefix + fed) ** 2 - prefix * (prefix + 1) / 2 - fed * (prefix + 1)
    needed = sum(recognition_flops(own, seconds, words).values())
    expected = needed + 4 * hidden * text.hidden_size * text.num_hidden_layers
    assert expected == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_products_with_weights_are_counted_for_the_whole_batch(own):
    one, four = (weight_shapes(own, 1.0, batch, own.candidates(7)) for batch in (1, 4))
    assert sum(shape.flops for shape in four) == 4 * sum(shape.flops for shape in one)
    text = own.model.config.text_config
    tokens = 1 + own.model.config.num_query_tokens + len(own.processor.tokenizer.encode(PROMPTS["v1"])) + 7
    assert four[7].rows == 4 * tokens and four[7].columns == text.intermediate_size


def test_curve_of_a_straight_line_has_no_bend():
    at = (1.0, 2.0, 4.0, 8.0)
    seconds = tuple(0.5 + 0.25 * value for value in at)
    curve = Curve("x", "unit", at, seconds, tuple((value,) for value in seconds))
    assert curve.slope == pytest.approx(0.25) and curve.linear_until == 8.0
    assert curve.comparison.summary["ratio"] == pytest.approx(0.25 / (2.5 / 8))


def test_curve_is_linear_until_its_bend():
    at = (1.0, 2.0, 4.0, 8.0, 16.0)
    seconds = (1.0, 2.0, 4.0, 12.0, 48.0)
    curve = Curve("x", "unit", at, seconds, tuple((value,) for value in seconds))
    assert curve.linear_until == 4.0 and curve.slope == pytest.approx(1.0)
    assert np.isclose(curve.comparison.summary["ratio"], (36 / 8) / (48 / 16))
