# SPDX-License-Identifier: Apache-2.0
"""A saved folder loads without this project, gives the same scores, and can be saved again."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from modeling_mser import (
    Wav2Vec2ClassifierConfig,
    Wav2Vec2ForEmotionClassification,
    WhisperForEmotionClassification,
    save_for_hub,
)
from processing_mser import EmotionClassifierProcessor


SESSION = Path(__file__).with_name("remote_session.py")
LABELS = ["neutral", "happy", "sad", "angry"]


def test_saved_folder_is_flat_and_complete(tiny, tmp_path: Path):
    save_for_hub(*tiny, tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    config = json.loads((tmp_path / "config.json").read_text())
    autos = {"AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForAudioClassification", "AutoProcessor"}
    assert set(config["auto_map"]) == autos
    assert list(config["custom_pipelines"]) == ["audio-classification"]
    for reference in [*config["auto_map"].values(), config["custom_pipelines"]["audio-classification"]["impl"]]:
        module, name = reference.split(".")
        assert re.search(rf"^class {name}\b", (tmp_path / f"{module}.py").read_text(), re.MULTILINE)
    for path in tmp_path.glob("*.py"):
        for module in re.findall(r"^\s*from \.(\w+) import", path.read_text(), re.MULTILINE):
            assert f"{module}.py" in files, f"{path.name} imports {module}, which is missing"
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    assert "augmentation_mser.py" not in files, "only training needs this file"


def whisper_classifier(backbones):
    model = WhisperForEmotionClassification.from_backbones(str(backbones[0]), emotion_words=LABELS, trained_layers=1)
    return model, EmotionClassifierProcessor(WhisperFeatureExtractor(feature_size=20), LABELS, crop_seconds=4.0)


def wav2vec2_classifier(backbones):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    audio = Wav2Vec2Config(**sizes, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)
    model = Wav2Vec2ForEmotionClassification(Wav2Vec2ClassifierConfig(audio_config=audio, emotion_words=LABELS))
    return model, EmotionClassifierProcessor(Wav2Vec2FeatureExtractor(), LABELS, crop_seconds=4.0)


@pytest.mark.slow
def test_saved_folders_load_without_the_project(tiny, backbones, tmp_path: Path):
    torch.manual_seed(0)
    models = {"mser": tiny, "whisper": whisper_classifier(backbones), "wav2vec2": wav2vec2_classifier(backbones)}
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, 0.1 * np.random.default_rng(0).standard_normal(40000), 16000)
    expected = {}
    for name, (model, processor) in models.items():
        save_for_hub(model.eval(), processor, tmp_path / name)
        labels = model.config.emotion_words
        logits = model.score_emotions(**processor(audio=[clip]), candidate_ids=processor.candidate_ids(labels))
        expected[name] = dict(zip(labels, logits[0].softmax(-1).tolist(), strict=True))
    done = subprocess.run(
        [sys.executable, "-I", str(SESSION), str(clip), *(str(tmp_path / name) for name in models)],
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, results in zip(models, json.loads(done.stdout.splitlines()[-1]), strict=True):
        assert len(results) == 6
        for way, scores in results.items():
            assert scores == pytest.approx(expected[name], abs=1e-5), (name, way)
            if "pipeline" in way:
                assert list(scores) == sorted(expected[name], key=lambda label: -expected[name][label])
        saved, again = (set(os.listdir(tmp_path / folder)) for folder in (name, f"{name}-parts"))
        # `AutoModel` adds GenerationMixin, which saves this file, to a class outside the project that has `generate`.
        assert again == saved | ({"generation_config.json"} if name != "mser" else set())
