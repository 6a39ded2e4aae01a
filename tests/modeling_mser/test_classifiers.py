# SPDX-License-Identifier: Apache-2.0
"""The two classifiers: forward pass, trained parts, saving and loading."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoModelForAudioClassification,
    AutoProcessor,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForPreTraining,
    WhisperFeatureExtractor,
    WhisperModel,
)

from modeling_mser import (
    BackboneError,
    Wav2Vec2ClassifierConfig,
    Wav2Vec2ForEmotionClassification,
    WhisperClassifierConfig,
    WhisperForEmotionClassification,
    save_for_hub,
)
from processing_mser import EmotionClassifierProcessor


LABELS = ["neutral", "happy", "sad", "angry"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
CONVOLUTIONS = {"conv_dim": [16, 16, 16], "conv_stride": [5, 4, 4], "conv_kernel": [10, 4, 4]}
POSITIONS = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
WAVES = SIZES | CONVOLUTIONS | POSITIONS | {"codevector_dim": 16, "proj_codevector_dim": 16}


@pytest.fixture
def whisper(backbones) -> str:
    return str(backbones[0])


def over_whisper(whisper: str, kind: type = WhisperForEmotionClassification, **config) -> nn.Module:
    return kind.from_backbones(whisper, **{"emotion_words": LABELS} | config)


def perturbed(model: nn.Module) -> nn.Module:
    """Break the symmetry of initial weights, which could hide a wrong order or mask."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def processor_for(model, crop_seconds=None) -> EmotionClassifierProcessor:
    whisper = model.config.audio_config.model_type == "whisper"
    extractor = WhisperFeatureExtractor(feature_size=20) if whisper else Wav2Vec2FeatureExtractor()
    return EmotionClassifierProcessor(extractor, model.config.emotion_words, crop_seconds)


def waves(norm: str) -> Wav2Vec2Config:
    return Wav2Vec2Config(**WAVES, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer")


def clips(*seconds: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(0.1 * rng.standard_normal(int(16000 * length))).astype(np.float32) for length in seconds]


def kinds(whisper: str) -> dict[str, nn.Module]:
    """Build Whisper with all and with top layers trained, and classifiers over three kinds of frozen encoder."""
    models = {
        "whisper": over_whisper(whisper),
        "top": over_whisper(whisper, trained_layers=1),
        "over whisper": Wav2Vec2ForEmotionClassification.from_backbones(
            whisper, emotion_words=LABELS, pooling="mean_std"
        ),
    }
    for norm in ("group", "layer"):
        config = Wav2Vec2ClassifierConfig(audio_config=waves(norm), emotion_words=LABELS)
        models[norm] = Wav2Vec2ForEmotionClassification(config)
    return {name: perturbed(model) for name, model in models.items()}


def test_whisper_classifier_equals_stock_encoder_mean_and_head(whisper):
    model = WhisperForEmotionClassification.from_backbones(
        whisper, emotion_words=LABELS, max_seconds=2.0, head_size=8
    ).eval()
    assert model.audio_tower.embed_positions.weight.shape == (100, 32)
    stock = WhisperModel.from_pretrained(whisper).encoder
    features = torch.randn(1, 20, 200)
    hidden = nn.functional.gelu(stock.conv2(nn.functional.gelu(stock.conv1(features)))).transpose(1, 2)
    hidden = hidden + stock.embed_positions.weight[:100]
    for layer in stock.layers:
        hidden = layer(hidden, None)
    embedding = stock.layer_norm(hidden).mean(1)
    _, first, _, _, second = model.classifier
    expected = (embedding @ first.weight.T + first.bias).relu() @ second.weight.T + second.bias
    outputs = model(torch.cat([features, torch.randn(1, 20, 200)]), labels=torch.tensor([2, -100]))
    unknown = model(features, labels=torch.tensor([-100])).loss
    unknown.backward()
    assert unknown == 0
    torch.testing.assert_close(outputs.emotion_embedding[:1], embedding)
    torch.testing.assert_close(outputs.logits[:1], expected)
    torch.testing.assert_close(outputs.loss, -expected.log_softmax(-1)[0, 2])
    with pytest.raises(ValueError, match="200"):
        model(torch.randn(1, 20, 202))


@torch.no_grad()
def test_scores_depend_neither_on_batch_nor_padding_nor_cache(whisper):
    for name, model in kinds(whisper).items():
        processor = processor_for(model)
        short, long = clips(0.31, 1.7)
        alone = model(**processor.extract_features([short]))
        inputs = processor.extract_features([long, short])
        together = model(**inputs)
        for field in ("logits", "emotion_embedding"):
            torch.testing.assert_close(together[field][1:], alone[field], atol=2e-5, rtol=1e-4, msg=name)
        states, mask = model.encode_audio(inputs["input_features"], inputs["input_features_mask"])
        torch.testing.assert_close(model(encoder_states=states, encoder_mask=mask).logits, together.logits, msg=name)
        assert states.shape[1] == len(model.config.used_encoder_layers)
        assert not states.requires_grad
        short_batch = processor.extract_features(clips(0.31, 0.7))
        padded = {key: nn.functional.pad(value, (0, value.shape[-1])) for key, value in short_batch.items()}
        torch.testing.assert_close(model(**padded).logits, model(**short_batch).logits, atol=2e-5, rtol=1e-4, msg=name)


def test_only_selected_layers_are_trained(whisper):
    trained = {}
    for name, model in kinds(whisper).items():
        model.train()
        model(**processor_for(model).extract_features(clips(0.3, 0.5)), labels=torch.tensor([0, 1])).loss.backward()
        for key, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, (name, key)
        trained[name] = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    tower = {name: {key for key in keys if key.startswith("audio_tower.")} for name, keys in trained.items()}
    assert {key.split(".")[1] for key in tower["whisper"]} == {"layers", "layer_norm"}
    norm = {"layer_norm.weight", "layer_norm.bias"}
    assert {".".join(key.split(".")[1:3]) for key in tower["top"]} == {"layers.1", *norm}
    assert tower["over whisper"] == tower["group"] == tower["layer"] == set()
    assert "layer_weights" in trained["group"]


def test_layers_are_normalized_weighted_and_pooled():
    model = perturbed(
        Wav2Vec2ForEmotionClassification(Wav2Vec2ClassifierConfig(audio_config=waves("layer"), pooling="mean_std"))
    )
    inputs = torch.randn(1, 4000)
    states = model.audio_tower(inputs, output_hidden_states=True).hidden_states
    shares = model.layer_weights.exp() / model.layer_weights.exp().sum()
    mixed = 0
    for share, state in zip(shares, states, strict=True):
        centred = state - state.mean(-1, keepdim=True)
        mixed = mixed + share * centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    pooled = torch.cat([mixed.mean(1), mixed.std(1, correction=0)], dim=-1)
    linear = model.shared[1]
    expected = (pooled @ linear.weight.T + linear.bias).relu()
    torch.testing.assert_close(model(inputs).emotion_embedding, expected, atol=1e-5, rtol=1e-4)


def test_score_emotions_of_candidates(whisper):
    model = kinds(whisper)["whisper"]
    processor = processor_for(model)
    features = processor.extract_features(clips(0.3))
    logits = model(**features).logits[0]
    scores = model.score_emotions(**features, candidate_ids=processor.candidate_ids(["sad", "HAPPY"]))
    expected = logits[[2, 1]].exp() / logits[[2, 1]].exp().sum()
    torch.testing.assert_close(scores.softmax(-1)[0], expected)
    silence = processor.extract_features([np.zeros(16000, np.float32)])
    corrected = model.score_emotions(**features, candidate_ids=processor.candidate_ids(LABELS), prior_correction=True)
    torch.testing.assert_close(
        corrected.softmax(-1)[0], (logits - model(**silence).logits[0]).softmax(-1), atol=1e-5, rtol=1e-4
    )
    with pytest.raises(ValueError, match="fear"):
        processor.candidate_ids(["happy", "fear"])
    with pytest.raises(ValueError, match="score"):
        model.generate(**features)


def test_processor_crops_to_the_middle_and_encodes_labels():
    extractor = WhisperFeatureExtractor(feature_size=20)
    processor = EmotionClassifierProcessor(extractor, LABELS, crop_seconds=1.0)
    (long,) = clips(2.5)
    inputs = processor(audio=[long, long[:8000]], emotion=["angry", "happy"])
    expected = extractor(long[12000:28000], sampling_rate=16000, padding="do_not_pad")["input_features"][0]
    np.testing.assert_array_equal(inputs["input_features"][0], expected)
    assert inputs["input_features_mask"].sum(-1).tolist() == [100, 50]
    assert inputs["labels"].tolist() == [3, 1]
    with pytest.raises(ValueError, match="longest"):
        processor.pad_to = "30s"


def test_invalid_settings_are_rejected(whisper):
    with pytest.raises(ValueError, match="trained_layers"):
        over_whisper(whisper, trained_layers=3)
    with pytest.raises(ValueError, match="max_seconds"):
        WhisperClassifierConfig(max_seconds=31.0)
    with pytest.raises(ValueError, match="pooling"):
        Wav2Vec2ClassifierConfig(pooling="max")
    with pytest.raises(ValueError, match="encoder_layers"):
        Wav2Vec2ClassifierConfig(audio_config=waves("layer"), encoder_layers=[3])


def test_saving_and_loading_round_trip(whisper, tmp_path: Path):
    for name, model in kinds(whisper).items():
        if name == "over whisper":  # its frozen encoder is not saved, so it must be the backbone's
            model.load_backbones()
        processor = processor_for(model, crop_seconds=2.0)
        folder = tmp_path / "saved" / name
        save_for_hub(model, processor, folder)
        loaded = type(model).from_pretrained(folder)
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, loaded.state_dict()[key]), (name, key)
        trained = {key: parameter.requires_grad for key, parameter in model.named_parameters()}
        assert {key: parameter.requires_grad for key, parameter in loaded.named_parameters()} == trained
        assert not loaded.training
        assert type(AutoModelForAudioClassification.from_pretrained(folder)) is type(model)
        again = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        assert (again.emotion_words, again.crop_seconds) == (LABELS, 2.0)
        config = json.loads((folder / "config.json").read_text())
        assert config["id2label"] == {str(index): word for index, word in enumerate(LABELS)}


@pytest.mark.parametrize("kind", [Wav2Vec2ForPreTraining, HubertModel])
def test_frozen_encoder_is_omitted_and_verified(kind, tmp_path: Path):
    torch.manual_seed(0)
    config = waves("layer") if kind is Wav2Vec2ForPreTraining else HubertConfig(**WAVES)
    encoder = perturbed(kind(config))
    encoder.save_pretrained(tmp_path / "encoder")
    model = Wav2Vec2ForEmotionClassification.from_backbones(str(tmp_path / "encoder"), emotion_words=LABELS)
    model.save_pretrained(tmp_path / "model")
    keys = set(load_file(tmp_path / "model" / "model.safetensors"))
    assert keys and not [key for key in keys if key.startswith("audio_tower.")]
    loaded = Wav2Vec2ForEmotionClassification.from_pretrained(tmp_path / "model")
    (waveform,) = clips(0.4)
    inputs = torch.tensor(waveform)[None]
    torch.testing.assert_close(loaded(inputs).logits, model.eval()(inputs).logits)
    expected = getattr(encoder, "wav2vec2", encoder).eval()(inputs).last_hidden_state
    torch.testing.assert_close(model.audio_tower(inputs).last_hidden_state, expected)

    complete = tmp_path / "complete"
    model.save_pretrained(complete, include_backbones=True)
    other = copy.deepcopy(encoder)
    perturbed(other).save_pretrained(tmp_path / "other")
    with pytest.raises(BackboneError, match="other"):
        Wav2Vec2ForEmotionClassification.from_pretrained(tmp_path / "model", audio_backbone=str(tmp_path / "other"))
    shutil.rmtree(tmp_path / "encoder")
    with pytest.raises(BackboneError, match="encoder"):
        Wav2Vec2ForEmotionClassification.from_pretrained(tmp_path / "model")
    again = Wav2Vec2ForEmotionClassification.from_pretrained(complete)
    torch.testing.assert_close(again(inputs).logits, loaded(inputs).logits)


def test_frozen_whisper_is_cropped_on_loading(whisper, tmp_path: Path):
    model = WhisperForEmotionClassification.from_backbones(
        whisper, emotion_words=LABELS, trained_layers=0, max_seconds=1.0
    ).eval()
    model.save_pretrained(tmp_path)
    assert all(key.startswith("classifier.") for key in load_file(tmp_path / "model.safetensors"))
    loaded = WhisperForEmotionClassification.from_pretrained(tmp_path)
    features = torch.randn(2, 20, 100)
    assert torch.equal(loaded(features).logits, model(features).logits)
    assert model.frozen_encoder() is not None


@pytest.mark.parametrize("seconds", [0.29, 1.25, 3.33])
def test_positions_match_the_processor_crop(whisper, seconds: float):
    model = over_whisper(whisper, max_seconds=seconds).eval()
    inputs = processor_for(model, crop_seconds=seconds)(audio=clips(5.0))
    assert inputs["input_features"].shape[-1] == round(100 * seconds)
    assert model.config.audio_config.max_source_positions == -(round(-100 * seconds) // 2)
    assert model.score_emotions([[0], [1]], prior_correction=True, **inputs).isfinite().all()


def test_half_precision_applies_to_the_encoder_only(whisper, tmp_path: Path):
    for name, model in kinds(whisper).items():
        if name == "over whisper":
            model.load_backbones()
        model.save_pretrained(tmp_path / "half" / name)
        half = type(model).from_pretrained(tmp_path / "half" / name, dtype=torch.bfloat16)
        assert {p.dtype for p in half.audio_tower.parameters()} == {torch.bfloat16}, name
        assert {p.dtype for p in half.classifier.parameters()} == {torch.float32}
        features = processor_for(model).extract_features(clips(0.4, 0.9))
        expected = model(**features).logits
        torch.testing.assert_close(half(**features).logits, expected, atol=0.06, rtol=0.05, msg=name)
        torch.testing.assert_close(model.bfloat16()(**features).logits.float(), expected, atol=0.1, rtol=0.1)
