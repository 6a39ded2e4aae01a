# SPDX-License-Identifier: Apache-2.0
"""Batches have a few fixed shapes, and compiled predictions equal uncompiled ones."""

import copy
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from audio_files import noise
from torch import nn
from transformers import Wav2Vec2Config, WhisperFeatureExtractor

import run_mser
from modeling_mser import (
    MSERForEmotionGeneration,
    Wav2Vec2ClassifierConfig,
    Wav2Vec2ForEmotionClassification,
    WhisperClassifierConfig,
    WhisperForEmotionClassification,
)
from modeling_mser.recognition_mser import label_probabilities
from mser_llm.inference import compilation, recognition
from mser_llm.inference.compilation import CompilationError, check_compiler, compiled, to_bucket
from mser_llm.inference.packing import pack_linear_layers
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from processing_mser import EmotionClassifierProcessor, label_set


WORDS = label_set("seven").words


def clips(*seconds: float) -> list[np.ndarray]:
    return list(map(noise, seconds))


@pytest.mark.parametrize(
    ("seconds", "longest", "frames"),
    [(0.5, 30, 200), (2.0, 30, 200), (2.5, 30, 300), (4.5, 5, 500), (16.0, 30, 3000), (30.0, 30, 3000)],
)
def test_to_bucket_rounds_lengths_up_to_the_longest_input(tiny, seconds, longest, frames):
    _, processor = tiny
    inputs = to_bucket(processor(audio=clips(seconds, 0.3)), 4, longest)
    assert inputs["input_features"].shape == (4, 20, frames)
    assert inputs["input_features_mask"].sum(-1).tolist() == [int(100 * seconds), 30, 30, 30]


@pytest.mark.parametrize("max_seconds", [1.5, 2.567])
def test_to_bucket_respects_the_crop_of_a_classifier(max_seconds, monkeypatch):
    monkeypatch.setattr(recognition, "check_compiler", lambda device: None)
    monkeypatch.setattr(recognition, "compiled", nullcontext)
    sizes = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}
    sizes |= {"num_mel_bins": 20, "vocab_size": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = WhisperClassifierConfig(audio_config=sizes, max_seconds=max_seconds, emotion_words=list(WORDS))
    model = WhisperForEmotionClassification(config).eval()
    processor = EmotionClassifierProcessor(WhisperFeatureExtractor(feature_size=20), list(WORDS), max_seconds)
    options = (ScoringOptions(), ScoringOptions(compile=True))
    plain, padded = (list(recognize(model, processor, clips(0.4, 1.3, 5.0), WORDS, one)) for one in options)
    for one, other in zip(plain, padded, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_to_bucket_changes_no_prediction(tiny):
    model, processor = tiny
    plain = processor(audio=clips(1.0, 2.2, 0.7))
    candidates = processor.candidate_ids(WORDS)
    expected = label_probabilities(model, plain, candidates)
    torch.testing.assert_close(
        label_probabilities(model, to_bucket(plain, 5, 30.0), candidates)[:3], expected, atol=1e-5, rtol=0
    )


@pytest.mark.slow
def test_compiled_predictions_equal_those_of_single_clips(tiny):
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    config, processor = tiny[0].config, tiny[1]
    config.audio_config.encoder_layers = 1  # a second layer would only double the time of the compiler
    config.qformer_config.num_hidden_layers = config.text_config.num_hidden_layers = 1
    plain = MSERForEmotionGeneration(config).eval()
    model = copy.deepcopy(plain)
    pack_linear_layers(model)  # as `predict` loads it
    sources = clips(1.0, 0.5, 1.9, 1.6, 0.9)
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    results = list(recognize(model, processor, sources, WORDS, ScoringOptions(batch_size=2, compile=True)))
    assert graphs["unique_graphs"] > before, "nothing was compiled"
    assert all(part._compiled_call_impl is None for part in (model.audio_tower, model.language_model))
    compiled_once = graphs["unique_graphs"]
    for clip, result in zip(sources, results, strict=True):
        with torch.no_grad():
            scores = plain.score_emotions(**processor(audio=[clip]), candidate_ids=processor.candidate_ids(WORDS))
        given = [result.scores[word] for word in WORDS]
        np.testing.assert_allclose(given, scores[0].softmax(-1).numpy(), atol=1e-4)
    list(recognize(model, processor, clips(1.1, 0.6, 1.7, 1.3), WORDS, ScoringOptions(batch_size=2, compile=True)))
    assert graphs["unique_graphs"] == compiled_once, "other lengths in the same bucket were compiled again"


def test_missing_compiler_is_reported_before_loading(tiny_model_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(CompilationError, match="no-such-compiler"):
        check_compiler("cpu")
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"never read")
    assert run_mser.main(["predict", str(clip), "--model", str(tiny_model_dir), "--device", "cpu", "--compile"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no-such-compiler" in error


def test_compiled_raises_for_more_shapes_than_allowed(monkeypatch):
    """With the backend `eager`, because compiling takes minutes."""
    monkeypatch.setattr(compilation, "_MAX_SHAPES", 2)
    compile_module = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda part, **how: compile_module(part, backend="eager", **how))

    class Part(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return 2 * values

    model = nn.Module()
    model.device, model.language_model = torch.device("cpu"), Part()
    with pytest.raises(CompilationError), torch.no_grad(), compiled(model):
        list(map(model.language_model, map(torch.zeros, range(2, 6))))


def test_compiled_rejects_encoders_without_padded_batches():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"conv_dim": [8], "conv_stride": [5], "conv_kernel": [10], "num_feat_extract_layers": 1}
    waves = Wav2Vec2Config(**sizes, feat_extract_norm="group", num_conv_pos_embeddings=4)
    model = Wav2Vec2ForEmotionClassification(Wav2Vec2ClassifierConfig(audio_config=waves, emotion_words=list(WORDS)))
    with pytest.raises(CompilationError), compiled(model):
        pass
