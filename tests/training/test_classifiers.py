# SPDX-License-Identifier: Apache-2.0
"""Both classifiers use the same training, cache, prediction and evaluation as MSER."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model, WhisperModel

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import ARGUMENTS
from mser_llm.evaluation.evaluation import evaluate_corpora
from mser_llm.inference.feature_cache import FeatureEncoder
from mser_llm.inference.loading import load_model
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.model_building import build_model
from mser_llm.training.run_training import train


WORDS = ["neutral", "happy", "sad", "angry"]


@pytest.fixture(scope="session")
def encoders(tiny_whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny saved `whisper` and `wav2vec2` with their feature extractors."""
    folder = tmp_path_factory.mktemp("wav2vec2")
    torch.manual_seed(0)
    shape = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=[16, 16],
        conv_stride=[10, 32], conv_kernel=[20, 32], num_feat_extract_layers=2, num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, initializer_range=0.3,
    )  # fmt: skip
    Wav2Vec2Model(shape).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return {"whisper": tiny_whisper, "wav2vec2": folder}


def parse(encoders: dict[str, Path], folder: Path, kind: str, **more) -> tuple:
    """Parse a recipe for a kind of classifier with further settings."""
    own = {"encoder_layers": "weighted"} if kind == "wav2vec2" else {}
    lines = {
        "model_type": f"{kind}_classifier", "audio_backbone": str(encoders[kind]), "labels": ",".join(WORDS),
        "validation_fraction": 0.3, "output_dir": str(folder / "run"), "cache_dir": str(folder / "cache"),
        "learning_rate": 0.01, "num_train_epochs": 12, "per_device_train_batch_size": 8, "contrast_weight": 0,
        "balance": "emotion", "use_cpu": True, "head_size": 16, "disable_tqdm": True, **own, **more,
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(lines))
    return tuple(MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses([str(path)])[1:])


@pytest.fixture
def recipe(tmp_path: Path, encoders: dict[str, Path]):
    return partial(parse, encoders, tmp_path)


@pytest.fixture(scope="module")
def trained(rows, encoders: dict[str, Path], tmp_path_factory) -> tuple[tuple, Path]:
    """Train the top layer for one epoch; return the arguments and the folder, which tests must not change."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = parse(encoders, folder, "whisper", trained_layers=1, num_train_epochs=1)
    train(rows, *arguments)
    return arguments, folder / "run"


@pytest.mark.parametrize(("kind", "more"), [("whisper", {"trained_layers": 1}), ("wav2vec2", {})])
def test_classifier_learns_tones_predicts_and_evaluates(recipe, rows, tmp_path, kind, more):
    once = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False, "logging_steps": 5}
    results = train(rows, *recipe(kind, **more, **once, num_train_epochs=8))
    assert results["validation"]["eval_UA"] >= 0.5, "chance is 0.25"
    assert results["parameters"]["classifier"]["trained"] > 0
    assert "loss_ce" in results["log_history"][0]

    model, processor = load_model(str(tmp_path / "run"), "cpu")
    card = (tmp_path / "run" / "README.md").read_text()
    assert 'pipeline(model=".", trust_remote_code=True)' in card
    assert "language model" not in card
    assert ("Not in this folder" in card) == (kind == "wav2vec2"), "a trained encoder is in the folder"
    new_speakers = {row["speaker"] for row in rows} - set(results["speakers"])
    new_rows = [row for row in rows if row["speaker"] in new_speakers]
    measured = evaluate_corpora(
        model, processor, {"tones": new_rows}, WORDS, output_dir=tmp_path / "out", progress=False
    )
    # Training evaluates batches of cached features; prediction reads the recordings.
    assert measured["corpora"]["tones"]["UA"] == pytest.approx(results["validation"]["eval_UA"], abs=0.05)
    predictions = list(recognize(model, processor, [row["audio"]["path"] for row in new_rows[:3]], ["sad", "angry"]))
    for prediction in predictions:
        assert set(prediction.scores) == {"sad", "angry"}
        assert sum(prediction.scores.values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="has no output for fear"):
        list(recognize(model, processor, [new_rows[0]["audio"]["path"]], ["fear", "sad"]))
    with pytest.raises(ValueError, match="score"):
        list(recognize(model, processor, [new_rows[0]["audio"]["path"]], WORDS, ScoringOptions(decode="generate")))
    with pytest.raises(ValueError, match="prompt"):
        load_model(str(tmp_path / "run"), "cpu", prompt="v1")


def test_classifier_caches_states_of_frozen_layers(recipe, trained):
    before, processor = build_model(trained[0][0], WORDS)
    after, _ = load_model(str(trained[1]), "cpu")
    assert not torch.equal(before.audio_tower.layers[2].fc1.weight, after.audio_tower.layers[2].fc1.weight)
    prints = {FeatureEncoder(model, processor).fingerprint() for model in (before, after)}
    assert len(prints) == 1, "another stage uses the same states"
    for change in ({"trained_layers": 2}, {"max_seconds": 3.0}, {}):
        other, its_processor = build_model(recipe("whisper", **{"trained_layers": 1, **change})[0], WORDS)
        if not change:
            with torch.no_grad():
                other.audio_tower.layers[0].fc1.weight.add_(1e-3)
        prints.add(FeatureEncoder(other, its_processor).fingerprint())
    assert len(prints) == 4


def test_classifier_training_resumes_after_a_kill(recipe, rows, tmp_path):
    uninterrupted = train(rows, *recipe("whisper", num_train_epochs=2))
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()
    for left_of_it in ("train_results.json", "model.safetensors"):
        (tmp_path / "run" / left_of_it).unlink()
    last = max((tmp_path / "run").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    shutil.rmtree(last)
    again = train(rows, *recipe("whisper", num_train_epochs=2))
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == weights
    assert again["validation"]["eval_UA"] == uninterrupted["validation"]["eval_UA"]


def test_classifier_second_stage_continues_and_checks_settings(recipe, trained, tmp_path):
    run = str(trained[1])
    second = recipe("whisper", init_from=run, trained_layers=2, output_dir=str(tmp_path / "second"))
    model, processor = build_model(second[0], WORDS)
    saved, _ = load_model(run, "cpu")
    for name, tensor in saved.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    assert model.config.used_encoder_layers == (1,)
    assert model.audio_tower.layers[1].fc1.weight.requires_grad
    assert processor.crop_seconds == 4.0
    # A layer that was trained before stays different from the backbone's, even if no layer is trained now.
    frozen = recipe("whisper", init_from=run, trained_layers=0, output_dir=str(tmp_path / "frozen"))
    kept, _ = build_model(frozen[0], WORDS)
    kept.save_pretrained(tmp_path / "frozen")
    again = type(kept).from_pretrained(tmp_path / "frozen")
    backbone = WhisperModel.from_pretrained(saved.config.audio_backbone).encoder
    weight = saved.audio_tower.layers[2].fc1.weight
    assert not torch.equal(weight, backbone.layers[2].fc1.weight)
    assert torch.equal(again.audio_tower.layers[2].fc1.weight, weight)
    with pytest.raises(InputError) as raised:
        build_model(second[0], ["sad", "fear"])
    assert raised.value.source == run and raised.value.problem.endswith(" fear")
    with pytest.raises(InputError) as raised:
        build_model(ModelArguments(init_from=run), WORDS)
    assert raised.value.source == run and raised.value.fix == "pass model_type whisper_classifier"
    with pytest.raises(ValueError, match="trained_layers"):
        ModelArguments(trained_layers=2)
    with pytest.raises(ValueError, match="lora"):
        ModelArguments(model_type="wav2vec2_classifier", lora=True)
    with pytest.raises(InputError) as raised:
        build_model(ModelArguments(model_type="whisper_classifier"), WORDS)
    assert raised.value.source == "audio_backbone"


def test_classifier_trains_with_speaker_contrast_in_two_stages(recipe, rows, tmp_path):
    """Unlabelled speech in one language, then labelled augmented views in the other."""
    pytest.importorskip("audiomentations")
    rows = [row | {"emotion": None} if row["language"] == "pl" else row for row in rows]
    shared = {
        "trained_layers": 1, "validation_fraction": 0, "views": 2, "augmentation": "low_resource",
        "load_best_model_at_end": False, "eval_strategy": "no", "num_train_epochs": 2, "epoch_batches": 3,
        "logging_steps": 1,
    }  # fmt: skip
    first = {
        "stage": "2", "stage2_mix": "replace", "unlabelled": True, "balance": "speaker", "speakers_per_batch": 3,
        "clips_per_speaker": 4, "per_device_train_batch_size": 24, "ce_weight": 0, "contrast_weight": 1,
        "objectives": {"speaker_contrast": {"temperature": 0.5}},
    }  # fmt: skip
    results = train(rows, *recipe("whisper", **shared, **first))
    losses = [line["loss_speaker_contrast"] for line in results["log_history"] if "loss_speaker_contrast" in line]
    assert len(losses) == 6, "epochs of epoch_batches"
    assert losses[-1] < losses[0]
    assert results["data"]["emotions"] == dict.fromkeys(WORDS, 0)
    second = {
        "stage": "1", "clean_views": False, "init_from": str(tmp_path / "run"), "output_dir": str(tmp_path / "second"),
    }  # fmt: skip
    results = train(rows, *recipe("whisper", **shared, **second))
    assert results["data"]["languages"] == {"en": 36}
    assert results["data"]["heard"]["languages"] == ["en"]
    assert results["data"]["heard_unlabelled"]["languages"] == ["pl"]

    for wrong, source, fix in (
        ({"per_device_train_batch_size": 8}, "per_device_train_batch_size 8", "per_device_train_batch_size 24"),
        ({"validation_fraction": 0.3}, "unlabelled", "validation_fraction 0"),
        ({"balance": "none"}, "epoch_batches, clean_views", "balance"),
    ):
        settings = {**shared, **first, "output_dir": str(tmp_path / "wrong"), **wrong}
        with pytest.raises(InputError) as raised:
            train(rows, *recipe("whisper", **settings))
        assert raised.value.source == source and fix in raised.value.fix
