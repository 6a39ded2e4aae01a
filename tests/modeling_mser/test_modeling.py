# SPDX-License-Identifier: Apache-2.0
"""The complete model: loss, logits, freezing, checkpointing, generation, saving and loading."""

from pathlib import Path

import pytest
import torch
from audio_files import waveforms

from modeling_mser import MSERConfig, MSERForEmotionGeneration
from mser_llm.training.compat import enable_activation_checkpointing
from processing_mser import MSERProcessor


@torch.no_grad()
def test_loss_is_the_mean_over_label_tokens(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000, 24000), emotion=["happy", "very tired"])
    output = model(**inputs)
    labels = inputs.pop("labels")
    full = model(**inputs).logits
    losses = [
        -full[row, column - 1].log_softmax(-1)[labels[row, column]]
        for row in range(2)
        for column in range(1, labels.shape[1])
        if labels[row, column] != -100
    ]
    torch.testing.assert_close(output.loss, torch.stack(losses).mean())
    label_columns = (labels != -100).any(0).nonzero()[:, 0]
    assert output.logits.shape[1] == len(label_columns) < full.shape[1]
    torch.testing.assert_close(output.logits, full[:, label_columns - 1])


@torch.no_grad()
def test_output_fields(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000, 24000))
    output = model(**inputs, output_hidden_states=True)
    audio = model.get_audio_features(inputs["input_features"], inputs["input_features_mask"])
    assert audio.last_hidden_state.shape == (2, 4, 32)
    torch.testing.assert_close(output.emotion_embedding, audio.last_hidden_state.mean(1))
    torch.testing.assert_close(output.audio_hidden_states, model.projection(audio.last_hidden_state))
    is_audio = inputs["input_ids"] == processor.audio_token_id
    torch.testing.assert_close(output.hidden_states[0][is_audio].view(2, 4, 48), output.audio_hidden_states)
    assert output.logits.shape[:2] == inputs["input_ids"].shape
    states, mask = model.encode_audio(inputs.pop("input_features"), inputs.pop("input_features_mask"))
    cached = inputs | {"encoder_states": states, "encoder_mask": mask}
    torch.testing.assert_close(model(**cached).logits, output.logits)
    assert torch.equal(model(**cached, return_dict=False)[0], model(**cached).logits)
    with pytest.raises(ValueError, match="encoder_states"):
        model.get_audio_features()


def test_forward_requires_both_audio_and_placeholders(tiny):
    """Else a collator that drops the features would train on the embeddings of the placeholders."""
    model, processor = tiny
    other = MSERProcessor(processor.feature_extractor, processor.tokenizer, num_query_tokens=5)
    with pytest.raises(ValueError, match=r"\[5\].*num_query_tokens=4"):
        model(**other(audio=waveforms(16000)))
    inputs = processor(audio=waveforms(16000))
    text = {name: inputs.pop(name) for name in ("input_ids", "attention_mask")}
    with pytest.raises(ValueError, match="input_features"):
        model(**text)
    with pytest.raises(ValueError, match="input_ids"):
        model(**inputs)
    with pytest.raises(ValueError, match="inputs_embeds"):
        model()
    generated = torch.full((1, 1), model.config.audio_token_id)  # a language model can generate any token
    assert model(input_ids=generated).logits.shape[:2] == (1, 1)


def test_placeholder_may_be_outside_the_vocabulary(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000))
    expected = model(**inputs).logits
    outside = 10_000
    inputs["input_ids"][inputs["input_ids"] == processor.audio_token_id] = outside
    model.config.audio_token_id = outside
    torch.testing.assert_close(model(**inputs).logits, expected)
    assert model.generate(**inputs, max_new_tokens=2, repetition_penalty=1.2).shape == (1, 2)


def test_generate_is_greedy_and_returns_new_tokens_only(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000, 40000))
    generated = model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert generated.shape == (2, 4)
    for row in range(2):
        clip = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        for step in range(4):
            input_ids = torch.cat([clip["input_ids"], generated[row : row + 1, :step]], 1)
            extended = clip | {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
            assert model(**extended).logits[0, -1].argmax() == generated[row, step]


def test_frozen_parts_have_no_gradient_and_no_dropout(make_tiny):
    model, processor = make_tiny(freeze_audio=True, freeze_text=True)
    model.train()
    assert not model.audio_tower.training and not model.language_model.training
    assert model.emotion_qformer.training
    inputs = processor(audio=waveforms(16000), emotion=["happy"])
    states, _ = model.encode_audio(inputs["input_features"], inputs["input_features_mask"])
    assert not states.requires_grad
    model(**inputs).loss.backward()
    trained = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {"emotion_qformer", "projection"}
    model.freeze(audio=False, qformer=True, text=False)
    model(**inputs).loss.backward()
    assert model.audio_tower.conv1.weight.grad is not None
    assert model.language_model.lm_head.weight.grad is not None
    assert not model.projection.weight.requires_grad
    assert model.audio_tower.embed_positions.weight.grad is None


def gradients(model: MSERForEmotionGeneration, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.emotion_qformer.qformer.config.attention_probs_dropout_prob = 0.0
    model.zero_grad()
    torch.manual_seed(0)
    model(**batch).loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("frozen", [True, False])
def test_gradient_checkpointing_keeps_gradients_and_recomputes_layers(make_tiny, frozen: bool):
    model, processor = make_tiny(freeze_audio=frozen, freeze_text=frozen)
    batch = processor(audio=waveforms(16000, 24000), emotion=["happy", "sad"])
    layer = model.language_model.model.layers[0]
    passes = []
    layer.mlp.register_forward_pre_hook(lambda *_: passes.append(1))
    expected = gradients(model, batch)
    assert len(passes) == 1
    enable_activation_checkpointing(model)
    found = gradients(model, batch)
    assert len(passes) == 1 + 2
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4)
    assert layer.self_attn.training == layer.mlp.training == (not frozen)


def test_checkpoint_round_trip_keeps_scores(tiny, tmp_path: Path):
    model, processor = tiny
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, its = MSERForEmotionGeneration.from_pretrained(tmp_path), MSERProcessor.from_pretrained(tmp_path)
    clips, words = waveforms(16000, 31773), ["happy", "very tired"]
    before = model.score_emotions(**processor(audio=clips), candidate_ids=processor.candidate_ids(words))
    after = loaded.score_emotions(**its(audio=clips), candidate_ids=its.candidate_ids(words))
    assert torch.equal(before, after)
    assert loaded.config.emotion_words == model.config.emotion_words
    half = MSERForEmotionGeneration.from_pretrained(tmp_path, dtype=torch.bfloat16)
    scores = half.score_emotions(**processor(audio=clips), candidate_ids=processor.candidate_ids(words))
    torch.testing.assert_close(scores, before, atol=0.3, rtol=0)


def test_config_round_trip_and_encoder_size(tmp_path: Path):
    config = MSERConfig(audio_config={"d_model": 96}, encoder_layers=[4, 2], qformer_config={"hidden_size": 64})
    config.save_pretrained(tmp_path)
    loaded = MSERConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert loaded.qformer_config.encoder_hidden_size == 96
    assert loaded.used_encoder_layers == (2, 4)
