# SPDX-License-Identifier: Apache-2.0
"""The two classifiers: what they hear, what of them is trained, and how they are saved and found again."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
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
from modeling_mser.pipeline_mser import MSERPipeline
from processing_mser import EmotionClassifierProcessor


WORDS = ["neutral", "happy", "sad", "angry"]
SESSION = Path(__file__).with_name("remote_classifier_session.py")
WAVES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16, 16, 16],
    "conv_stride": [5, 4, 4],
    "conv_kernel": [10, 4, 4],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "codevector_dim": 16,
    "proj_codevector_dim": 16,
}


@pytest.fixture
def whisper(backbones) -> str:
    return str(backbones[0])


def stirred(model: nn.Module) -> nn.Module:
    """Away from the initial symmetry, where a wrong order or a wrong mask might not show."""
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
    """One model of each kind: Whisper trained whole and at the top, and over three sorts of frozen encoder."""
    made = {
        "whisper": WhisperForEmotionClassification.from_backbone(whisper, WORDS),
        "top": WhisperForEmotionClassification.from_backbone(whisper, WORDS, trained_layers=1),
        "over whisper": Wav2Vec2ForEmotionClassification.from_backbone(whisper, WORDS, pooling="mean_std"),
    }
    for norm in ("group", "layer"):
        config = Wav2Vec2ClassifierConfig(audio_config=waves(norm), emotion_words=WORDS)
        made[norm] = Wav2Vec2ForEmotionClassification(config)
    return {name: stirred(model) for name, model in made.items()}


def test_whisper_is_cropped_masked_averaged_and_classified(whisper):
    """Against the stock encoder, which knows no mask, on one clip that fills the positions."""
    model = WhisperForEmotionClassification.from_backbone(whisper, WORDS, max_seconds=2.0, head_size=8).eval()
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
    outputs = model(features, labels=torch.tensor([2]))
    torch.testing.assert_close(outputs.emotion_embedding, embedding)
    torch.testing.assert_close(outputs.logits, expected)
    torch.testing.assert_close(outputs.loss, -expected.log_softmax(-1)[0, 2])
    with pytest.raises(ValueError, match=r"at most 200 \(2 s\)"):
        model(torch.randn(1, 20, 202))


def test_a_clip_does_not_depend_on_its_company_and_cached_states_give_the_same(whisper):
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


def test_padding_beyond_the_longest_clip_changes_nothing(whisper):
    """As compiled recognition pads its batches."""
    for name, model in kinds(whisper).items():
        inputs = processor_for(model).extract_features(clips(0.31, 0.7))
        padded = {key: nn.functional.pad(value, (0, value.shape[-1])) for key, value in inputs.items()}
        with torch.no_grad():
            expected, found = model(**inputs).logits, model(**padded).logits
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4, msg=name)


def test_only_what_is_said_is_trained(whisper):
    trained = {}
    for name, model in kinds(whisper).items():
        model.train()
        model(**processor_for(model).extract_features(clips(0.3, 0.5)), labels=torch.tensor([0, 1])).loss.backward()
        for key, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, (name, key)
        trained[name] = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    tower = {name: {key for key in keys if key.startswith("audio_tower.")} for name, keys in trained.items()}
    assert {key.split(".")[1] for key in tower["whisper"]} == {"layers", "layer_norm"}
    assert {".".join(key.split(".")[1:3]) for key in tower["top"]} == {
        "layers.1", "layer_norm.weight", "layer_norm.bias",
    }  # fmt: skip
    assert tower["over whisper"] == tower["group"] == tower["layer"] == set()
    assert "layer_weights" in trained["group"]


def test_layers_are_normalised_weighted_and_pooled():
    """Against the sum written out, over the encoder's own hidden states."""
    model = stirred(
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


def test_labels_that_are_not_known_do_not_count(whisper):
    model = kinds(whisper)["whisper"]
    features = processor_for(model).extract_features(clips(0.3, 0.5))
    both = model(**features, labels=torch.tensor([-100, 3])).loss
    known = model(**{name: value[1:] for name, value in features.items()}, labels=torch.tensor([3])).loss
    torch.testing.assert_close(both, known)
    none = model(**features, labels=torch.tensor([-100, -100])).loss
    none.backward()
    assert none == 0


def test_scores_are_of_the_candidates_and_an_unknown_word_is_an_error(whisper):
    model = kinds(whisper)["whisper"]
    processor = processor_for(model)
    features = processor.extract_features(clips(0.3))
    logits = model(**features).logits[0]
    scores = model.score_emotions(**features, candidate_ids=processor.candidate_ids(["sad", "happy"]))
    expected = logits[[2, 1]].exp() / logits[[2, 1]].exp().sum()
    torch.testing.assert_close(scores.softmax(-1)[0], expected)
    silence = processor.extract_features([np.zeros(16000, np.float32)])
    corrected = model.score_emotions(**features, candidate_ids=processor.candidate_ids(WORDS), prior_correction=True)
    torch.testing.assert_close(
        corrected.softmax(-1)[0], (logits - model(**silence).logits[0]).softmax(-1), atol=1e-5, rtol=1e-4
    )
    with pytest.raises(ValueError, match="classifier of neutral, happy, sad, angry and has no output for fear"):
        processor.candidate_ids(["happy", "fear"])
    with pytest.raises(ValueError, match="writes no text"):
        model.generate(**features)


def test_the_processor_crops_to_the_middle_and_numbers_the_words():
    extractor = WhisperFeatureExtractor(feature_size=20)
    processor = EmotionClassifierProcessor(extractor, WORDS, crop_seconds=1.0)
    (long,) = clips(2.5)
    inputs = processor(audio=[long, long[:8000]], emotion=["angry", "happy"])
    expected = extractor(long[12000:28000], sampling_rate=16000, padding="do_not_pad")["input_features"][0]
    np.testing.assert_array_equal(inputs["input_features"][0], expected)
    assert inputs["input_features_mask"].sum(-1).tolist() == [100, 50]
    assert inputs["labels"].tolist() == [3, 1]
    with pytest.raises(ValueError, match="longest"):
        processor.pad_to = "30s"


def test_impossible_choices_are_refused(whisper):
    with pytest.raises(ValueError, match="trained_layers is 3, but this encoder has 2 layers"):
        WhisperForEmotionClassification.from_backbone(whisper, WORDS, trained_layers=3)
    with pytest.raises(ValueError, match="max_seconds is 31"):
        WhisperClassifierConfig(max_seconds=31.0)
    with pytest.raises(ValueError, match="pooling is 'max'"):
        Wav2Vec2ClassifierConfig(pooling="max")
    with pytest.raises(ValueError, match="layers 0 to 2"):
        Wav2Vec2ClassifierConfig(audio_config=waves("layer"), encoder_layers=[3])


def test_saved_and_loaded_they_are_the_same(whisper, tmp_path: Path):
    for name, model in kinds(whisper).items():
        if name == "over whisper":  # over a frozen encoder that is left out, and so must be its backbone's
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
        again = EmotionClassifierProcessor.from_pretrained(folder)
        assert (again.emotion_words, again.crop_seconds) == (WORDS, 2.0)
        config = json.loads((folder / "config.json").read_text())
        assert config["id2label"] == {str(index): word for index, word in enumerate(WORDS)}


@pytest.mark.parametrize("kind", [Wav2Vec2ForPreTraining, HubertModel])
def test_a_frozen_encoder_is_left_out_found_again_and_verified(kind, tmp_path: Path):
    torch.manual_seed(0)
    config = waves("layer") if kind is Wav2Vec2ForPreTraining else HubertConfig(**WAVES)
    encoder = stirred(kind(config))
    encoder.save_pretrained(tmp_path / "encoder")
    model = Wav2Vec2ForEmotionClassification.from_backbone(str(tmp_path / "encoder"), WORDS)
    model.save_pretrained(tmp_path / "model")
    keys = set(load_file(tmp_path / "model" / "model.safetensors"))
    assert keys and not [key for key in keys if key.startswith("audio_tower.")]
    loaded = Wav2Vec2ForEmotionClassification.from_pretrained(tmp_path / "model")
    (waveform,) = clips(0.4)
    inputs = torch.tensor(waveform)[None]
    torch.testing.assert_close(loaded(inputs).logits, model.eval()(inputs).logits)
    heard = getattr(encoder, "wav2vec2", encoder).eval()(inputs).last_hidden_state
    torch.testing.assert_close(model.audio_tower(inputs).last_hidden_state, heard)

    whole = tmp_path / "whole"
    model.save_pretrained(whole, include_backbones=True)
    other = copy.deepcopy(encoder)
    stirred(other).save_pretrained(tmp_path / "other")
    with pytest.raises(BackboneError, match="not the one that this model was trained with"):
        Wav2Vec2ForEmotionClassification.from_pretrained(tmp_path / "model", audio_backbone=str(tmp_path / "other"))
    shutil.rmtree(tmp_path / "encoder")
    with pytest.raises(BackboneError, match="cannot be loaded"):
        Wav2Vec2ForEmotionClassification.from_pretrained(tmp_path / "model")
    again = Wav2Vec2ForEmotionClassification.from_pretrained(whole)
    torch.testing.assert_close(again(inputs).logits, loaded(inputs).logits)


def test_frozen_whisper_positions_are_cropped_on_loading_again(whisper, tmp_path: Path):
    model = WhisperForEmotionClassification.from_backbone(whisper, WORDS, trained_layers=0, max_seconds=1.0).eval()
    model.save_pretrained(tmp_path)
    assert all(key.startswith("classifier.") for key in load_file(tmp_path / "model.safetensors"))
    loaded = WhisperForEmotionClassification.from_pretrained(tmp_path)
    features = torch.randn(2, 20, 100)
    assert torch.equal(loaded(features).logits, model(features).logits)
    assert model.frozen_encoder() is not None


@pytest.mark.parametrize("seconds", [0.29, 0.75, 1.1, 1.25, 2.25, 3.33])
def test_positions_hold_what_the_processor_crops_to(whisper, seconds: float):
    """An odd number of frames too, and for less than a second its silence."""
    model = WhisperForEmotionClassification.from_backbone(whisper, WORDS, max_seconds=seconds).eval()
    inputs = processor_for(model, crop_seconds=seconds)(audio=clips(5.0))
    assert inputs["input_features"].shape[-1] == round(100 * seconds)
    assert model.config.audio_config.max_source_positions == -(round(-100 * seconds) // 2)
    assert model.score_emotions([[0], [1]], prior_correction=True, **inputs).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["top", "group"])
def test_they_load_where_the_project_is_not_installed(whisper, name, tmp_path: Path):
    model = kinds(whisper)[name]
    processor = processor_for(model, crop_seconds=4.0)
    save_for_hub(model, processor, tmp_path / "hub")
    (waveform,) = clips(2.5)
    soundfile.write(tmp_path / "clip.wav", waveform, 16000)
    logits = model(**processor(audio=[tmp_path / "clip.wav"])).logits[0]
    done = subprocess.run(
        [sys.executable, "-I", str(SESSION), str(tmp_path / "hub"), str(tmp_path / "clip.wav"), str(tmp_path / "out")],
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    expected = dict(zip(WORDS, logits.softmax(-1).tolist(), strict=True))
    assert told["model"] == type(model).__name__
    for way in ("classes", "pipeline", "saved again"):
        assert told[way] == pytest.approx(expected, abs=1e-5), way


def test_auto_classes_find_the_processor(whisper, tmp_path: Path):
    model = kinds(whisper)["top"]
    save_for_hub(model, processor_for(model), tmp_path)
    found = AutoProcessor.from_pretrained(tmp_path, trust_remote_code=True)
    assert found.candidate_ids(["sad"]) == [[2]]


def test_a_classifier_turned_to_half_precision_answers(whisper):
    for name, model in kinds(whisper).items():
        if name == "over whisper":
            model.load_backbones()
        features = processor_for(model).extract_features(clips(0.4, 0.9))
        expected = model(**features).logits
        torch.testing.assert_close(model.bfloat16()(**features).logits.float(), expected, atol=0.1, rtol=0.1)


def test_classes_are_found_in_any_case_and_are_the_default_as_they_are(whisper):
    model = WhisperForEmotionClassification.from_backbone(whisper, ["Happy", "Sad"])
    processor = processor_for(model)
    assert processor.candidate_ids(["sad", "HAPPY"]) == [[1], [0]]
    answer = MSERPipeline(model, processor=processor, device="cpu")
    assert {one["label"] for one in answer(clips(0.4)[0])} == {"Happy", "Sad"}


def test_half_precision_is_the_encoders_alone(whisper, tmp_path: Path):
    for name, model in kinds(whisper).items():
        if name == "over whisper":
            model.load_backbones()
        model.save_pretrained(tmp_path / "half" / name)
        half = type(model).from_pretrained(tmp_path / "half" / name, dtype=torch.bfloat16)
        assert {p.dtype for p in half.audio_tower.parameters()} == {torch.bfloat16}, name
        assert {p.dtype for p in half.classifier.parameters()} == {torch.float32}
        features = processor_for(model).extract_features(clips(0.4, 0.9))
        torch.testing.assert_close(half(**features).logits, model(**features).logits, atol=0.06, rtol=0.05, msg=name)
