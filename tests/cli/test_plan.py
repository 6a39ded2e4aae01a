# SPDX-License-Identifier: Apache-2.0
"""`run-mser plan` estimates what fits, without weights and network."""

import json
import re
import socket
from pathlib import Path

import pytest
from transformers import WhisperConfig

import run_mser
from modeling_mser import MSERConfig, WhisperClassifierConfig
from mser_llm.cli.plan import GPUS
from mser_llm.training.planning import MACHINES


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch):
    def fail(self: socket.socket, address: object) -> None:
        raise OSError(f"no connection to {address}")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", fail)


def test_gpus_are_the_machines_of_the_estimate():
    assert tuple(MACHINES) == GPUS


def test_plan_of_the_paper_model(capsys: pytest.CaptureFixture[str]):
    assert run_mser.main(["plan", "paper/stage1", "--gpu", "H100", "--clips", "32000"]) == 0
    output = capsys.readouterr().out
    # LLaMA 3 8B as published: 8,030,261,248 parameters, two bytes each.
    assert re.search(r"language model +8,030,261,248 +0 ", output)
    assert re.search(r"weights: language model +16\.1 GB", output)
    assert "10,000 steps" in output, "ten epochs of 32,000 clips in batches of 32"
    assert max(map(len, output.splitlines())) <= 100


def test_plan_names_a_batch_that_fits(capsys: pytest.CaptureFixture[str]):
    command = ["plan", "tiny/stage1", "--gpu", "RTX4090", "--per_device_train_batch_size", "100000"]
    assert run_mser.main(command) == 0
    fitting = re.search(r"--per_device_train_batch_size (\d+)$", capsys.readouterr().out.strip())
    assert fitting is not None and 1 <= int(fitting[1]) < 100000
    assert run_mser.main([*command[:-1], fitting[1]]) == 0
    assert "Fits: " in capsys.readouterr().out


def test_plan_suggests_lower_precision_if_no_batch_fits(capsys: pytest.CaptureFixture[str]):
    run_mser.main(["plan", "paper/stage1", "--gpu", "RTX4090", "--backbone_dtype", "float32"])
    assert "--backbone_dtype bfloat16" in capsys.readouterr().out.splitlines()[-1]


def test_plan_measures_this_machine(capsys: pytest.CaptureFixture[str]):
    assert run_mser.main(["plan", "tiny/stage1"]) == 0
    assert re.search(r"^cpu: .*measured", capsys.readouterr().out, re.MULTILINE)


def test_plan_of_a_missing_backbone_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("audio_backbone: nobody/whisper-nowhere\ntext_backbone: nobody/llama-nowhere\noutput_dir: x\n")
    assert run_mser.main(["plan", str(recipe)]) == 2
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    assert "nobody/whisper-nowhere" in message and "audio_config" in message


@pytest.mark.parametrize("found", [None, "whisper", "wav2vec2_classifier"])
def test_plan_rejects_a_checkpoint_that_training_rejects(found: str | None, tmp_path: Path, capsys):
    """`None` is the parent folder of a stage's folder."""
    folder = tmp_path / "runs"
    MSERConfig().save_pretrained(folder / "stage1")
    if found is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": found}))
    assert run_mser.main(["plan", "tiny/stage1", "--gpu", "H100", "--init_from", str(folder)]) == 2
    message = capsys.readouterr().err
    assert str(folder) in message and (found or f"{folder}/stage1") in message


@pytest.mark.parametrize(
    "flags",
    [
        ["--gpu", "H900"],
        ["--seconds", "31"],
        ["--seconds", "5", "--longest", "4"],
        ["--share", "2"],
        ["--clips", "0"],
        ["--validation_clips", "-1"],
        ["--validation_fraction", "1"],
        ["--freeze_audio", "true"],
        ["--init_from", "here", "--output_dir", "here"],
    ],
)
def test_plan_rejects_invalid_arguments(flags: list[str], capsys: pytest.CaptureFixture[str]):
    try:
        status = run_mser.main(["plan", "tiny/stage1", *flags])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert flags[0].removeprefix("--") in capsys.readouterr().err.splitlines()[-1]


def test_plan_of_a_classifier_counts_its_trained_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sizes = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    config = WhisperClassifierConfig(
        audio_config=WhisperConfig(**sizes), emotion_words=["happy", "sad"], trained_layers=0, max_seconds=2.0
    )
    config.save_pretrained(tmp_path / "first")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model_type: whisper_classifier\ncontrast_weight: 0\noutput_dir: unset\n")
    flags = ["--gpu", "H100", "--init_from", str(tmp_path / "first"), "--labels", "happy,sad"]
    trained = []
    for layers in ("0", "1"):
        assert run_mser.main(["plan", str(recipe), *flags, "--trained_layers", layers]) == 0
        rows = re.findall(r"^(?:encoder|head) +[\d,]+ +([\d,]+)", capsys.readouterr().out, re.MULTILINE)
        trained.append(sum(int(row.replace(",", "")) for row in rows))
    # A Whisper layer: four projections, one without bias, two inner matrices with bias, two norms; then the last norm.
    assert trained[1] - trained[0] == 4 * 16 * 16 + 3 * 16 + 2 * 16 * 32 + 32 + 16 + 3 * 2 * 16
    # The model uses two seconds of a clip, so a longer clip costs no more.
    outputs = []
    for seconds in ("2", "20"):
        assert run_mser.main(["plan", str(recipe), *flags, "--seconds", seconds]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    flags[-1] = "sad,fear"
    assert run_mser.main(["plan", str(recipe), *flags]) == 2
    assert "fear" in capsys.readouterr().err


def test_plan_needs_the_size_of_validation_corpora(capsys: pytest.CaptureFixture[str]):
    command = ["plan", "tiny/stage1", "--gpu", "H100", "--validation_corpora", "nemo"]
    assert run_mser.main(command) == 2
    assert "--validation_clips" in capsys.readouterr().err
    assert run_mser.main([*command, "--validation_clips", "3076"]) == 0
