# SPDX-License-Identifier: Apache-2.0
"""Channels of the encoder brought to one scale: measured on training clips, kept in the checkpoint and by stage 2."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from data_mser.reading import read_corpus
from modeling_mser import MSERForEmotionGeneration
from training_mser import standardization
from training_mser.model_building import build_config
from training_mser.stages import train
from training_mser.standardization import channel_statistics


def clips_and_features(count: int):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"{key:03d}": torch.randn(2, 5 + key % 7, 6, generator=generator) * torch.tensor([1, 3, 100, 0.1, 1, 0]) + 4
        for key in range(count)
    }
    clips = [SimpleNamespace(key=key) for key in tensors]
    return clips, lambda clip, view: tensors[clip.key].half() if view == 0 else None


def test_mean_and_deviation_are_those_of_all_frames():
    clips, features = clips_and_features(20)
    mean, std = channel_statistics(clips, features)
    frames = torch.cat([features(clip, 0).double() for clip in clips], dim=1)
    torch.testing.assert_close(mean, frames.mean(1).float(), atol=1e-4, rtol=1e-5)
    expected = frames.std(1, correction=0).float()
    expected[:, 5] = standardization.SMALLEST_STD
    torch.testing.assert_close(std, expected, atol=1e-4, rtol=1e-4)


def test_neither_the_order_of_the_clips_nor_their_number_decides(monkeypatch):
    monkeypatch.setattr(standardization, "MEASURED_CLIPS", 10)
    clips, features = clips_and_features(40)
    read = []
    first = channel_statistics(clips, lambda clip, view: read.append(clip.key) or features(clip, view))
    assert len(set(read)) == 10
    again = channel_statistics(clips[::-1], features)
    torch.testing.assert_close(again, first, atol=0, rtol=0)


def test_what_was_measured_is_in_the_checkpoint_and_the_next_stage_keeps_it(tones, recipe, tmp_path):
    WhisperEncoder(build_config(recipe()[0]).audio_config).save_pretrained(tmp_path / "encoder")
    WhisperFeatureExtractor(feature_size=20).save_pretrained(tmp_path / "encoder")
    rows = read_corpus("folder", tones).rows
    flags = ["--freeze_audio", "true", "--num_train_epochs", "1", "--standardize_features", "true"]
    first, second = tmp_path / "first", tmp_path / "second"
    train(rows, *recipe("--output_dir", str(first), "--audio_backbone", str(tmp_path / "encoder"), *flags))
    train(rows, *recipe("--output_dir", str(second), "--init_from", str(first), "--stage", "2", *flags))
    kept, again = (load_file(folder / "model.safetensors") for folder in (first, second))
    for name in ("feature_mean", "feature_std"):
        assert kept[f"emotion_qformer.{name}"].std() > 1e-3
        torch.testing.assert_close(again[f"emotion_qformer.{name}"], kept[f"emotion_qformer.{name}"], atol=0, rtol=0)
    model = MSERForEmotionGeneration.from_pretrained(first)
    torch.testing.assert_close(model.emotion_qformer.feature_std, kept["emotion_qformer.feature_std"], atol=0, rtol=0)


def test_an_encoder_that_is_trained_has_nothing_to_measure_once(tones, recipe):
    with pytest.raises(ValueError, match="freeze_audio: true"):
        train(read_corpus("folder", tones).rows, *recipe("--standardize_features", "true"))
