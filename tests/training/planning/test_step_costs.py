# SPDX-License-Identifier: Apache-2.0
"""A step metered without data against what a real step of the same model computes, keeps and needs."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from modeling_mser import MSERConfig, MSERForEmotionGeneration
from mser_llm.training.activation_checkpointing import enable_activation_checkpointing
from mser_llm.training.planning.step_costs import StepShape, step_costs, without_data
from mser_llm.training.planning.step_meter import StepMeter


BATCH, FRAMES, TEXT, LABELS = 3, 40, 60, 2
SHAPE = StepShape(BATCH, FRAMES, TEXT, LABELS)


def config(**settings) -> MSERConfig:
    return MSERConfig(
        audio_config={"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
        | {"decoder_layers": 1, "vocab_size": 8, "num_mel_bins": 20}
        | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
        qformer_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
        text_config={"model_type": "llama", "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3}
        | {"num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 700},
        num_query_tokens=4,
        audio_token_id=600,
        **settings,
    )


def metered(accumulates: bool = False, bf16: bool = False, **settings):
    with without_data():
        return step_costs(MSERForEmotionGeneration(config(**settings)).train(), SHAPE, bf16, accumulates)


def real_step(model: MSERForEmotionGeneration) -> None:
    """As the trainer takes it over kept features."""
    rows = torch.full((BATCH, TEXT), 5)
    rows[:, :4] = 600
    labels = torch.full_like(rows, -100)
    labels[:, -LABELS:] = 7
    states = torch.randn(BATCH, 1, FRAMES // 2, 32)
    model(input_ids=rows, encoder_states=states, labels=labels, use_cache=False).loss.backward()


def test_the_parameters_are_those_of_the_built_model():
    costs, model = metered(), MSERForEmotionGeneration(config())
    assert sum(part.parameters for part in costs.parts) == sum(weight.numel() for weight in model.parameters())
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert costs.trained == sum(weight.numel() for weight in trained) > 0
    stored = [*model.parameters(), *model.buffers()]
    assert costs.weight_bytes == sum(tensor.numel() * tensor.element_size() for tensor in stored)


def test_the_language_models_work_is_that_of_its_matrices():
    """By hand: two operations for each weight and token, attention over all positions, logits at the labels alone."""
    hidden, inner, layers, vocabulary = 48, 96, 3, 700
    tokens = BATCH * TEXT
    linear = layers * (4 * hidden * hidden + 3 * hidden * inner)
    attention = layers * BATCH * 2 * TEXT * TEXT * hidden * 2
    logits = 2 * BATCH * LABELS * hidden * vocabulary
    forward = 2 * tokens * linear + attention + logits
    rotary = 2 * tokens * (hidden // 4 // 2) // BATCH  # angles of the positions, one row for the whole batch
    *_, language_model = metered(freeze_text=True).parts
    assert language_model.forward.flops == pytest.approx(forward, abs=2 * rotary)
    # Frozen, it has the gradient of its activations alone: one product for each of the forward pass's, and attention
    # five for two. Trained, the weights' gradients come on top.
    backward = 2 * tokens * linear + attention * 5 // 2 + logits
    assert language_model.backward.flops == pytest.approx(backward, abs=2 * rotary)
    *_, trained = metered(freeze_text=False).parts
    assert trained.backward.flops == pytest.approx(2 * (2 * tokens * linear + logits) + attention * 5 // 2, rel=0.02)


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("freeze_text", [True, False])
def test_the_worst_moment_of_a_step_is_as_the_allocator_sees_it(freeze_text: bool, batches: int):
    """Of several batches, those after the first find gradients there."""
    torch.manual_seed(0)
    model = MSERForEmotionGeneration(config(freeze_text=freeze_text)).train()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        for _ in range(batches):
            real_step(model)
    live = worst = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            worst = max(worst, live)
    assert worst > 100_000
    assert metered(freeze_text=freeze_text, accumulates=batches > 1).step_bytes == pytest.approx(worst, rel=0.1)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_later_batch_holds_more_and_multiplies_as_much(bf16: bool):
    first, later = (metered(accumulates, bf16, freeze_text=False) for accumulates in (False, True))
    # Each gradient is made beside the one that it is added to, so fewer than all are held twice.
    assert first.step_bytes < later.step_bytes <= first.step_bytes + 4 * first.trained
    assert later.encoding_bytes == first.encoding_bytes, "the clips are encoded before there are gradients"
    for one, other in zip(first.parts, later.parts, strict=True):
        assert one.forward == other.forward
        assert one.backward.flops == other.backward.flops


def test_checkpointing_keeps_less_and_computes_more():
    with without_data():
        model = MSERForEmotionGeneration(config()).train()
        plain = step_costs(model, SHAPE)
        model.zero_grad()
        enable_activation_checkpointing(model)
        model.train()
        checkpointed = step_costs(model, SHAPE)
    assert checkpointed.step_bytes < 0.6 * plain.step_bytes
    # Frozen, the backward pass is one product for each of the forward's, which is done once more.
    assert checkpointed.parts[2].backward.flops > 1.5 * plain.parts[2].backward.flops


def test_memory_is_freed_when_its_last_view_is():
    with StepMeter() as meter:
        first = torch.zeros(1000)
        view = first[:10]
        del first
        assert meter.live == 4000
        second = torch.ones(500)
        del view
        assert meter.live == 2000
        second.add_(1)
    assert meter.peak == 6000
