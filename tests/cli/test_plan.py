# SPDX-License-Identifier: Apache-2.0
"""`run-mser plan`: sizes that fit or do not, without weights and without a network."""

import json
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import WhisperConfig

import run_mser
from modeling_mser import MSERConfig, WhisperClassifierConfig
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.plan import ARGUMENTS
from mser_llm.data.clips import Clip
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.dataset import EmotionDataset
from mser_llm.training.model_building import build_model
from mser_llm.training.planning.machines import MACHINES
from mser_llm.training.planning.meta_model import build_skeleton
from mser_llm.training.planning.plan import OVERHEAD, Clips, largest_batch, make_plan
from mser_llm.training.planning.step_meter import Work
from mser_llm.training.run_training import train
from mser_llm.training.training_order import training_order
from processing_mser import label_set


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(self: socket.socket, address: object) -> None:
        raise OSError(f"no connection to {address}")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)


def parsed(*words: str):
    return MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses(list(words))


def planned(*words: str, clips: Clips, gpu: str = "H100", num_processes: int = 1):
    _, model, data, training = parsed(*words)
    skeleton = build_skeleton(model, label_set(data.labels).words, has_bfloat16=True)
    return make_plan(skeleton, data, training, clips, MACHINES[gpu], 0.4, num_processes)


def test_the_papers_model_is_planned_and_fits(capsys: pytest.CaptureFixture[str]):
    assert run_mser.main(["plan", "paper/stage1", "--gpu", "H100", "--clips", "32000"]) == 0
    told = capsys.readouterr().out
    # LLaMA 3 8B as published: 8,030,261,248 parameters, two bytes each.
    assert re.search(r"language model +8,030,261,248 +0 ", told)
    assert re.search(r"weights: language model +16\.1 GB", told)
    # Ten epochs of 32,000 clips in batches of 32.
    assert "32,000 clips of 3 s, 10,000 steps" in told
    assert told.splitlines()[-1].startswith("Fits: ")


def test_what_does_not_fit_is_said_in_one_line_with_the_cure(capsys: pytest.CaptureFixture[str]):
    words = ["plan", "tiny/stage1", "--gpu", "RTX4090", "--per_device_train_batch_size", "100000"]
    assert run_mser.main(words) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    fitting = re.fullmatch(r"Does not fit: .* of 24\.0 GB; give --per_device_train_batch_size (\d+)", last)
    assert fitting is not None and 1 <= int(fitting[1]) < 100000
    run_mser.main([*words[:-1], fitting[1]])
    assert "Fits: " in capsys.readouterr().out


def test_a_model_too_large_for_any_batch_is_halved_in_precision(capsys: pytest.CaptureFixture[str]):
    run_mser.main(["plan", "paper/stage1", "--gpu", "RTX4090", "--backbone_dtype", "float32"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Does not fit: ") and "in no batch" in last and "--backbone_dtype bfloat16" in last


def test_the_largest_batch_is_the_largest():
    _, model, data, training = parsed("tiny/stage1")
    skeleton = build_skeleton(model, label_set(data.labels).words)
    machine = MACHINES["RTX4090"]
    largest = largest_batch(skeleton, training, 3.0, machine)
    for size, fits in ((round(0.97 * largest), True), (round(1.05 * largest), False)):
        training.per_device_train_batch_size = size
        assert make_plan(skeleton, data, training, Clips(100, 3.0, 3.0), machine).fits == fits


def test_gradients_that_wait_for_the_next_batch_are_counted():
    """On a machine that holds one batch to a step and no more."""
    _, model, data, training = parsed("tiny/stage1", "--per_device_train_batch_size", "4")
    skeleton = build_skeleton(model, label_set(data.labels).words)
    clips, machine = Clips(100, 3.0, 3.0), MACHINES["H100"]
    alone = make_plan(skeleton, data, training, clips, machine)
    machine = replace(machine, memory=alone.peak_memory + OVERHEAD)
    assert make_plan(skeleton, data, training, clips, machine).fits
    assert largest_batch(skeleton, training, 3.0, machine) == 4
    training.gradient_accumulation_steps = 8
    accumulated = make_plan(skeleton, data, training, clips, machine)
    assert not accumulated.fits
    assert accumulated.memory["gradients"] == 4 * alone.costs.trained
    assert accumulated.memory["activations"] > alone.memory["activations"]
    assert largest_batch(skeleton, training, 3.0, machine) < 4


def test_activation_checkpointing_is_planned():
    clips = Clips(100, 3.0, 3.0)
    kept = planned("tiny/stage1", clips=clips)
    computed_again = planned("tiny/stage1", "--gradient_checkpointing", clips=clips)
    assert computed_again.memory["activations"] < kept.memory["activations"]


def test_a_backbone_that_cannot_be_had_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("audio_backbone: nobody/whisper-nowhere\ntext_backbone: nobody/llama-nowhere\noutput_dir: x\n")
    assert run_mser.main(["plan", str(recipe)]) == 2
    told = capsys.readouterr().err.strip()
    assert "\n" not in told
    assert "nobody/whisper-nowhere" in told and "write audio_config and text_config out" in told


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (None, "holds no model (no config.json in a folder); did you mean {place}/stage1?"),
        ("whisper", "holds a model of type whisper, and init_from takes one of mser, whisper_classifier, "),
        ("wav2vec2_classifier", "holds a model of type wav2vec2_classifier, and model_type is mser; give both alike"),
    ],
)
def test_what_training_does_not_go_on_from_is_not_planned(
    held: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """None: the folder above that of a stage."""
    place = tmp_path / "runs"
    MSERConfig().save_pretrained(place / "stage1")
    if held is not None:
        (place / "config.json").write_text(json.dumps({"model_type": held}))
    assert run_mser.main(["plan", "tiny/stage1", "--gpu", "H100", "--init_from", str(place)]) == 2
    refused = capsys.readouterr().err.strip().splitlines()[-1]
    assert refused.startswith(f"run-mser: error: {place}: {told.format(place=place)}")
    with pytest.raises(ValueError) as trained:
        build_model(ModelArguments(init_from=str(place)), ["happy", "sad"])
    assert refused == f"run-mser: error: {trained.value}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--gpu", "H900"], "choose from A100, H100, H200, L40S, RTX4090, or cpu"),
        (["--seconds", "31"], "seconds is 31; give 0.1 to 30 seconds"),
        (["--seconds", "5", "--longest", "4"], "longest is 4 and the mean, seconds, 5"),
        (["--share", "2"], "share is 2; give a part of the peak"),
        (["--clips", "0"], "clips is 0; give at least 1"),
        (["--validation_clips", "-1"], "validation_clips is -1; give 0 or more"),
        (["--validation_fraction", "1"], "validation_fraction is 1.0; pass a number"),
        (["--validation_fraction", "-0.1"], "validation_fraction is -0.1; pass a number"),
    ],
)
def test_what_cannot_be_planned_is_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        run_mser.main(["plan", "tiny/stage1", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--validation_fraction", "0"], "validation_fraction 0 leaves no speakers to choose a checkpoint by"),
        (["--unlabelled"], "unlabelled clips cannot be judged by; give validation_fraction 0"),
        (["--labelled_languages", "en"], "labelled_languages is of classifiers"),
        (["--init_from", "here", "--output_dir", "here"], "output_dir and init_from are both here"),
        (["--freeze_audio", "true"], "freeze_audio is true and audio_backbone is not set"),
        (["--freeze_text", "true"], "freeze_text is true and text_backbone is not set"),
    ],
)
def test_a_recipe_that_training_refuses_is_not_planned(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
):
    assert run_mser.main(["plan", "tiny/stage1", "--gpu", "H100", *words]) == 2
    refused = capsys.readouterr().err.strip().splitlines()[-1]
    assert told in refused
    _, *recipe = parsed("tiny/stage1", *words)
    with pytest.raises(ValueError) as trained:
        train([], *recipe)
    assert refused == f"run-mser: error: {trained.value}"


def test_a_classifier_is_planned_as_it_is_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """With the layers that this training trains, and for words that it has an output for."""
    sizes = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    config = WhisperClassifierConfig(
        audio_config=WhisperConfig(**sizes), emotion_words=["happy", "sad"], trained_layers=0
    )
    config.save_pretrained(tmp_path / "first")
    words = ["--init_from", str(tmp_path / "first"), "--labels", "happy,sad", "--output_dir", "unset"]
    words += ["--contrast_weight", "0", "--per_device_train_batch_size", "2"]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model_type: whisper_classifier\n")
    trained = []
    for layers in ("0", "1"):
        plan = planned(str(recipe), *words, "--trained_layers", layers, clips=Clips(100, 3.0, 3.0))
        trained.append(plan.costs.trained)
    # Of a Whisper layer: four projections, one of them without a bias, the two inner matrices with theirs, two norms;
    # and the norm behind the last layer.
    assert trained[1] - trained[0] == 4 * 16 * 16 + 3 * 16 + 2 * 16 * 32 + 32 + 16 + 3 * 2 * 16
    words[words.index("happy,sad")] = "sad,fear"
    assert run_mser.main(["plan", str(recipe), "--gpu", "H100", *words]) == 2
    assert "has no output for fear; give both stages the same labels" in capsys.readouterr().err


def test_corpora_held_out_whole_are_to_be_counted(capsys: pytest.CaptureFixture[str]):
    words = ["plan", "tiny/stage1", "--gpu", "H100", "--validation_corpora", "nemo"]
    assert run_mser.main(words) == 2
    assert "nothing is known of the clips of nemo; say with --validation_clips" in capsys.readouterr().err
    assert run_mser.main([*words, "--validation_clips", "3076"]) == 0


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


@pytest.mark.parametrize("goes_on", [False, True])
def test_adapters_are_planned(goes_on: bool, tmp_path: Path):
    """New ones, and those of a checkpoint that is trained on."""
    pytest.importorskip("peft")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(FROZEN.replace("freeze_text: false", "freeze_text: true\ntext_backbone: nobody/llama"))
    words = [str(recipe), "--lora", "--lora_rank", "2"]
    if goes_on:
        config = build_skeleton(parsed(*words)[1], ["happy", "sad"]).model.config
        assert config.lora["r"] == 2
        config.save_pretrained(tmp_path / "stage1")
        words += ["--init_from", str(tmp_path / "stage1")]
    parts = {part.name: part for part in planned(*words, clips=Clips(100, 3.0, 3.0)).costs.parts}
    bare = {part.name: part for part in planned(str(recipe), clips=Clips(100, 3.0, 3.0)).costs.parts}
    # Of q_proj and v_proj of the one layer, both 32 to 32: a matrix to the rank and one back, in float32.
    added = 2 * (32 * 2 + 2 * 32)
    assert parts["language model"].trained == added
    assert parts["language model"].weight_bytes == bare["language model"].weight_bytes + 4 * added
    assert parts["language model"].forward.flops > bare["language model"].forward.flops


def test_time_follows_what_there_is_to_do(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(FROZEN)
    one = Clips(10_000, 3.0, 3.0)
    base = planned(str(recipe), clips=one)
    longer = planned(str(recipe), clips=Clips(20_000, 3.0, 3.0))
    assert longer.hours == pytest.approx(2 * base.hours, rel=0.01)
    both = planned(str(recipe), clips=one, num_processes=2)
    assert both.steps == 157 * 10, "10,000 clips are 157 batches of 64"
    assert both.encoding_seconds == pytest.approx(base.encoding_seconds / 2)
    # A quarter of the cache holds a quarter of the clips; the rest goes through the encoder in every epoch.
    quarter = planned(str(recipe), "--cache_gb", str(base.cache_bytes / 4e9), clips=one)
    assert quarter.cached == pytest.approx(0.25)
    assert base.costs.encoder_frozen
    encoder = base.costs.parts[0].forward.flops
    assert quarter.step_flops == pytest.approx(base.step_flops + 0.75 * encoder)


@pytest.mark.parametrize(
    "flags",
    [
        ["--balance", "emotion"],
        ["--balance", "emotion", "--views", "4"],
        ["--balance", "emotion", "--views", "4", "--epoch_batches", "5"],
        ["--balance", "none", "--views", "4"],
        ["--balance", "speaker", "--views", "4", "--speakers_per_batch", "2", "--clips_per_speaker", "2"],
    ],
)
def test_an_epoch_is_planned_as_long_as_it_is(flags: list[str]):
    words = ["tiny/stage1", "--num_train_epochs", "3", "--per_device_train_batch_size", "8", *flags]
    _, _, data, training = parsed(*words)
    rows = [{"speaker": f"speaker {number % 8}", "language": "en"} for number in range(96)]
    clips = [Clip(row, "sad", "key", 3.0) for row in rows]
    dataset = EmotionDataset(clips, None, label_set("seven"), data.views)
    shown = training_order(dataset, training) or dataset
    assert planned(*words, clips=Clips(len(clips), 3.0, 3.0)).steps == 3 * len(shown) // 8


def test_the_views_of_byol_are_planned(tmp_path: Path):
    """Two of each clip and, for the model's own loss, three; the frozen layers below hear it once."""
    sizes = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    WhisperConfig(**sizes).save_pretrained(tmp_path)
    recipe = tmp_path / "byol.yaml"
    recipe.write_text(
        f"model_type: whisper_classifier\naudio_backbone: {tmp_path}\ntrained_layers: 1\noutput_dir: unset\n"
        "per_device_train_batch_size: 40\nobjectives: {byol: {}}\n"
    )
    one = Clips(1000, 3.0, 3.0)
    byol, batch = planned(str(recipe), clips=one), ["--per_device_train_batch_size", "200"]
    plain, large = (planned(str(recipe), "--without", "byol", *words, clips=one) for words in ([], batch))
    assert (byol.rows, plain.rows, large.rows) == (200, 40, 200)
    assert byol.memory["activations"] == large.memory["activations"] > 4 * plain.memory["activations"]
    assert byol.steps == plain.steps
    assert byol.encoding_seconds == pytest.approx(large.encoding_seconds)


def test_a_clip_longer_than_a_model_hears_costs_what_it_hears(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sizes = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    WhisperConfig(**sizes).save_pretrained(tmp_path / "whisper")
    recipe = tmp_path / "cropped.yaml"
    recipe.write_text(
        f"model_type: whisper_classifier\nmax_seconds: 2.0\naudio_backbone: {tmp_path / 'whisper'}\n"
        "contrast_weight: 0\noutput_dir: unset\n"
    )
    said = []
    for seconds in ("2", "20"):
        words = ["plan", str(recipe), "--gpu", "H100", "--clips", "100", "--seconds", seconds]
        assert run_mser.main(words) == 0, capsys.readouterr().err
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_an_operation_is_bound_by_arithmetic_or_by_memory():
    machine = MACHINES["H100"]
    arithmetic, memory = Work(), Work()
    arithmetic.operations[10**15, 10**6, True] = 1
    memory.operations[10**6, 335 * 10**10, True] = 1
    assert machine.seconds(arithmetic, share=0.5) == pytest.approx(1e15 / (989e12 / 2))
    assert machine.seconds(memory) == pytest.approx(1.0)
    assert machine.seconds(arithmetic + memory) == pytest.approx(1e15 / 989e12 + 1.0)
