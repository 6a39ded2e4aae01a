# SPDX-License-Identifier: Apache-2.0
"""Compare estimates of a training with formulas and with a real step of the model."""

from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import WhisperConfig

from modeling_mser import MSERForEmotionGeneration
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import ARGUMENTS
from mser_llm.data.clips import Clip
from mser_llm.training.data.dataset import EmotionDataset
from mser_llm.training.data.samplers import build_sampler
from mser_llm.training.planning import GPU_RESERVE, MACHINES, ClipCounts, largest_batch, make_plan
from mser_llm.training.step_cost import MetaModel, build_meta_model, step_cost
from mser_llm.training.training_arguments import MSERTrainingArguments
from processing_mser import label_set


BATCH, SECONDS, TEXT, LABELS = 3, 0.4, 60, 2
CLIPS = ClipCounts(100, 3.0, 3.0)


@pytest.fixture
def estimate(make_tiny, training):
    def count(**settings):
        config = make_tiny(**settings)[0].config
        with torch.device("meta"):
            model = MSERForEmotionGeneration(config).train()
        return step_cost(MetaModel(model, TEXT, LABELS), BATCH, SECONDS, training)

    return count


@pytest.fixture
def training(tmp_path) -> MSERTrainingArguments:
    return MSERTrainingArguments(output_dir=str(tmp_path), use_cpu=True)


def parsed(*flags: str):
    _, *recipe = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses(list(flags))
    return recipe


def planned(*flags: str, clips: ClipCounts = CLIPS, gpu: str = "H100", num_processes: int = 1):
    model, data, arguments = parsed(*flags)
    meta = build_meta_model(model, label_set(data.labels).words, has_bfloat16=True)
    return make_plan(meta, data, arguments, clips, MACHINES[gpu], 0.4, num_processes)


def test_plan_counts_the_parameters_of_the_built_model(estimate, make_tiny):
    cost, model = estimate(freeze_text=True), make_tiny(freeze_text=True)[0]
    assert sum(part.parameters for part in cost.parts) == sum(weight.numel() for weight in model.parameters())
    assert cost.trained == sum(weight.numel() for weight in model.parameters() if weight.requires_grad) > 0
    assert cost.weight_bytes == sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])


def test_plan_derives_language_model_flops_from_matrices(estimate, make_tiny):
    """Two FLOPs per weight and token; attention over all positions; logits at the labels only."""
    hidden, inner, layers, vocabulary = 48, 96, 2, make_tiny()[0].config.text_config.vocab_size
    tokens = BATCH * TEXT
    # Keys and values are half as wide.
    linear = layers * (3 * hidden * hidden + 3 * hidden * inner)
    attention = layers * BATCH * 2 * TEXT * TEXT * hidden * 2
    logits = 2 * BATCH * LABELS * hidden * vocabulary
    *_, frozen = estimate(freeze_text=True).parts
    assert frozen.forward == pytest.approx(2 * tokens * linear + attention + logits, rel=0.01)
    # Frozen: gradients of activations only. Trained: those of the weights too.
    assert frozen.backward == pytest.approx(2 * tokens * linear + 2 * attention + logits, rel=0.02)
    *_, trained = estimate(freeze_text=False).parts
    assert trained.backward == pytest.approx(2 * (2 * tokens * linear + attention + logits), rel=0.02)


@pytest.mark.parametrize("freeze_text", [True, False])
def test_plan_estimates_the_memory_of_a_real_step(freeze_text: bool, estimate, make_tiny):
    model, processor = make_tiny(freeze_text=freeze_text, freeze_audio=True, encoder_layers="last")
    ids = torch.full((BATCH, TEXT), 5)
    ids[:, :4] = processor.audio_token_id
    labels = torch.full_like(ids, -100)
    labels[:, -LABELS:] = 7
    states = torch.randn(BATCH, 1, round(SECONDS * 50), 32)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        model.train()(input_ids=ids, encoder_states=states, labels=labels, use_cache=False).loss.backward()
    live = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    cost = estimate(freeze_text=freeze_text, freeze_audio=True, encoder_layers="last")
    assert 0.9 < (cost.activation_bytes + 4 * cost.trained) / peak < 1.7


def test_plan_with_gradient_checkpointing_saves_memory(estimate, training):
    plain = estimate(freeze_text=True)
    training.gradient_checkpointing = True
    checkpointed = estimate(freeze_text=True)
    assert checkpointed.activation_bytes < 0.7 * plain.activation_bytes
    assert checkpointed.parts[2].backward == plain.parts[2].backward + plain.parts[2].forward


@pytest.mark.parametrize("fits", [True, False])
def test_plan_finds_the_largest_batch_that_fits(fits: bool):
    model, data, training = parsed("tiny/stage1")
    meta = build_meta_model(model, label_set(data.labels).words)
    machine = MACHINES["RTX4090"]
    largest = largest_batch(meta, training, 3.0, machine)
    training.per_device_train_batch_size = round((0.97 if fits else 1.05) * largest)
    assert make_plan(meta, data, training, CLIPS, machine).fits == fits
    tight = replace(machine, memory=GPU_RESERVE + 1e6)
    assert largest_batch(meta, training, 3.0, tight) == 0


FROZEN = """
audio_backbone: nobody/whisper
audio_config: {d_model: 64, encoder_layers: 2, encoder_attention_heads: 2, encoder_ffn_dim: 128, decoder_layers: 1,
  vocab_size: 8, pad_token_id: 0, bos_token_id: 1, eos_token_id: 2, decoder_start_token_id: 1}
qformer_config: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32}
text_config: {model_type: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2}
freeze_text: false
num_train_epochs: 10
per_device_train_batch_size: 32
output_dir: unset
"""


@pytest.fixture
def frozen_recipe(tmp_path):
    path = tmp_path / "frozen.yaml"
    path.write_text(FROZEN)
    return path


def test_plan_scales_time_with_the_number_of_clips(frozen_recipe):
    clips, recipe = ClipCounts(10_000, 3.0, 3.0), str(frozen_recipe)
    base, both = planned(recipe, clips=clips), planned(recipe, clips=clips, num_processes=2)
    assert planned(recipe, clips=ClipCounts(20_000, 3.0, 3.0)).hours == pytest.approx(2 * base.hours, rel=0.01)
    assert both.steps == 157 * 10, "10,000 clips are 157 batches of 64"
    assert both.encoding_seconds == pytest.approx(base.encoding_seconds / 2)
    # A quarter of the cache stores a quarter of the clips; the others are encoded in every epoch.
    quarter = planned(recipe, "--cache_gb", str(base.cache_bytes / 4e9), clips=clips)
    assert quarter.cached == pytest.approx(0.25)
    assert quarter.step_flops == pytest.approx(base.step_flops + 0.75 * base.cost.parts[0].forward)


@pytest.mark.parametrize("resumes_stage", [False, True])
def test_plan_includes_lora_adapters(resumes_stage: bool, frozen_recipe, tmp_path):
    pytest.importorskip("peft")
    frozen_recipe.write_text(FROZEN.replace("freeze_text: false", "freeze_text: true\ntext_backbone: nobody/llama"))
    flags = [str(frozen_recipe), "--lora", "--lora_rank", "2"]
    if resumes_stage:
        meta_config = build_meta_model(parsed(*flags)[0], ["happy", "sad"]).model.config
        meta_config.save_pretrained(tmp_path / "stage1")
        flags += ["--init_from", str(tmp_path / "stage1")]
    adapted, bare = planned(*flags).cost.parts[2], planned(str(frozen_recipe)).cost.parts[2]
    # q_proj and v_proj of the only layer, 32 to 32: two matrices of the adapter's rank each, in float32.
    added = 2 * (32 * 2 + 2 * 32)
    assert adapted.trained == added
    assert adapted.weight_bytes == bare.weight_bytes + 4 * added
    assert adapted.forward > bare.forward


@pytest.mark.parametrize(
    "flags",
    [
        ["--balance", "emotion", "--views", "4"],
        ["--balance", "emotion", "--views", "4", "--epoch_batches", "5"],
        ["--balance", "none", "--views", "4"],
        ["--balance", "speaker", "--views", "4", "--speakers_per_batch", "2", "--clips_per_speaker", "2"],
    ],
)
def test_plan_counts_the_steps_of_the_sampler(flags: list[str]):
    flags = ["tiny/stage1", "--num_train_epochs", "3", "--per_device_train_batch_size", "8", *flags]
    _, data, training = parsed(*flags)
    rows = [{"speaker": f"speaker {number % 8}", "language": "en"} for number in range(96)]
    clips = [Clip(row, "sad", "key", 3.0) for row in rows]
    dataset = EmotionDataset(clips, None, label_set("seven"), data.views)
    items = build_sampler(dataset, training) or dataset
    assert planned(*flags, clips=ClipCounts(len(clips), 3.0, 3.0)).steps == 3 * len(items) // 8


def test_plan_counts_the_views_of_byol(tmp_path):
    """Two views of each clip and three for the model's loss; the frozen layers below encode a clip once."""
    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    WhisperConfig(**sizes).save_pretrained(tmp_path)
    recipe = tmp_path / "byol.yaml"
    recipe.write_text(
        f"model_type: whisper_classifier\naudio_backbone: {tmp_path}\ntrained_layers: 1\noutput_dir: unset\n"
        "per_device_train_batch_size: 40\nobjectives: {byol: {}}\n"
    )
    byol, plain = planned(str(recipe)), planned(str(recipe), "--without", "byol")
    large = planned(str(recipe), "--without", "byol", "--per_device_train_batch_size", "200")
    assert (byol.rows, plain.rows, large.rows) == (200, 40, 200)
    assert byol.memory["activations"] == large.memory["activations"] > 4 * plain.memory["activations"]
    assert byol.encoding_seconds == pytest.approx(large.encoding_seconds)
