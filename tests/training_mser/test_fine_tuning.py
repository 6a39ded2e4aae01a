# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuned model takes over from its parent, and what its own stage decides."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from transformers import WhisperConfig

from modeling_mser import WhisperClassifierConfig, WhisperForEmotionClassification
from modeling_mser.pipeline_mser import MSERPipeline
from processing_mser import label_set
from run_mser import main
from training_mser.arguments import ModelArguments
from training_mser.classifier_building import continue_classifier
from training_mser.model_building import build_model


FOUR, SEVEN = (list(label_set(name).words) for name in ("four", "seven"))


@pytest.fixture(scope="module")
def on_four(tiny_model_dir: Path, tmp_path_factory) -> Path:
    """The folder of a model whose parent learned seven words and that was itself set up for four."""
    place = tmp_path_factory.mktemp("fine-tuned")
    arguments = ModelArguments(init_from=str(tiny_model_dir), freeze_audio=False, freeze_text=False)
    model, processor = build_model(arguments, FOUR)
    model.save_pretrained(place)
    processor.save_pretrained(place)
    return place


def test_predict_defaults_to_labels_of_last_stage(on_four: Path, tmp_path: Path, capsys):
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    assert main(["predict", str(clip), "--model", str(on_four), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["scores"]) == FOUR
    # The parent's words are still known.
    assert main(["predict", str(clip), "--model", str(on_four), "--json", "--labels", "fear,disgust"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_pipeline_defaults_to_labels_of_last_stage(on_four: Path):
    model, processor = build_model(ModelArguments(init_from=str(on_four), freeze_audio=False), FOUR)
    pipe = MSERPipeline(model, processor=processor, device="cpu")
    assert list(pipe.default_words) == FOUR
    assert model.config.learned_words == SEVEN


def test_learned_words_grow_with_each_stage(on_four: Path):
    model, _ = build_model(ModelArguments(init_from=str(on_four), freeze_audio=False), ["calm", "sad"])
    assert model.config.emotion_words == ["calm", "sad"]
    assert model.config.learned_words == [*SEVEN, "calm"]


def test_pretrained_language_model_keeps_labels_without_learned_words(make_tiny, tmp_path: Path):
    model, processor = make_tiny(emotion_words=SEVEN, learned_words=None)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    model, _ = build_model(ModelArguments(init_from=str(tmp_path), freeze_audio=False, freeze_text=False), FOUR)
    assert (model.config.emotion_words, model.config.learned_words) == (FOUR, None)


def test_classifier_keeps_its_classes_and_defaults_to_last_stage(tmp_path: Path):
    sizes = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    audio = WhisperConfig(**sizes, num_mel_bins=20)
    config = WhisperClassifierConfig(audio_config=audio, emotion_words=SEVEN, trained_layers=0)
    model = WhisperForEmotionClassification(config)
    continue_classifier(model, ModelArguments(model_type="whisper_classifier", trained_layers=0), "parent", FOUR)
    model.save_pretrained(tmp_path)
    again = WhisperForEmotionClassification.from_pretrained(tmp_path)
    assert (again.config.emotion_words, again.config.learned_words) == (FOUR, SEVEN)
    assert list(again.config.id2label.values()) == SEVEN
    assert again.classifier[-1].out_features == 7
