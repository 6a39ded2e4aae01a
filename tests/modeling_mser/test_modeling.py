# SPDX-License-Identifier: Apache-2.0
"""The composite: loss, logits, freezing, generation, saving and loading what was saved."""

from pathlib import Path

import numpy as np
import pytest
import torch

from modeling_mser import MSERConfig, MSERForEmotionGeneration
from mser_llm.training.compat import enable_activation_checkpointing
from processing_mser import MSERProcessor


def waveforms(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [0.1 * rng.standard_normal(length).astype(np.float32) for length in lengths]


@torch.no_grad()
def test_loss_is_the_mean_over_label_tokens_and_logits_stop_at_them(tiny):
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
def test_outputs_hold_what_their_names_say(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000, 24000))
    output = model(**inputs, output_hidden_states=True)
    audio = model.get_audio_features(inputs["input_features"], inputs["input_features_mask"])
    assert audio.last_hidden_state.shape == (2, 4, 32)
    torch.testing.assert_close(output.emotion_embedding, audio.last_hidden_state.mean(1))
    torch.testing.assert_close(output.audio_hidden_states, model.projection(audio.last_hidden_state))
    # The audio stands where its placeholders stood: right behind bos, before the prompt.
    places = inputs["input_ids"] == processor.audio_token_id
    torch.testing.assert_close(output.hidden_states[0][places].view(2, 4, 48), output.audio_hidden_states)
    assert output.logits.shape[:2] == inputs["input_ids"].shape


def test_cached_encoder_states_stand_for_the_features(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000, 24000), emotion=["sad", "happy"])
    states, mask = model.encode_audio(inputs["input_features"], inputs["input_features_mask"])
    text = {name: inputs[name] for name in ("input_ids", "attention_mask", "labels")}
    torch.testing.assert_close(model(**text, encoder_states=states, encoder_mask=mask).loss, model(**inputs).loss)
    with pytest.raises(ValueError, match="either input_features or encoder_states"):
        model.get_audio_features()


def test_neither_audio_nor_its_place_may_be_lacking(tiny):
    """A collator that loses the features would otherwise train on, or answer to, the placeholders themselves."""
    model, processor = tiny
    inputs = processor(audio=waveforms(16000))
    text = {name: inputs.pop(name) for name in ("input_ids", "attention_mask")}
    with pytest.raises(ValueError, match="hold audio tokens and there is no audio; give input_features"):
        model(**text)
    with pytest.raises(ValueError, match="in input_ids; give input_ids"):
        model(**inputs)
    with pytest.raises(ValueError, match="give input_ids, or inputs_embeds"):
        model()
    written = torch.full((1, 1), model.config.audio_token_id)  # a language model may write any token
    assert model(input_ids=written).logits.shape[:2] == (1, 1)


def test_a_wrong_number_of_placeholders_is_refused(tiny):
    model, processor = tiny
    processor.num_query_tokens = 5
    with pytest.raises(ValueError, match=r"hold \[5\] audio tokens.*num_query_tokens=4"):
        model(**processor(audio=waveforms(16000)))


def test_the_placeholder_may_lie_outside_the_vocabulary(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000))
    expected = model(**inputs).logits
    outside = 10_000
    inputs["input_ids"][inputs["input_ids"] == processor.audio_token_id] = outside
    model.config.audio_token_id = outside
    torch.testing.assert_close(model(**inputs).logits, expected)
    assert model.generate(**inputs, max_new_tokens=2, repetition_penalty=1.2).shape == (1, 2)


def test_generation_is_greedy_on_the_same_logits_and_returns_new_tokens_only(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000, 40000))
    generated = model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert generated.shape == (2, 4)
    for row in range(2):
        clip = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        for step in range(4):
            answer = generated[row : row + 1, :step]
            clip_step = dict(clip)
            clip_step["input_ids"] = torch.cat([clip["input_ids"], answer], 1)
            clip_step["attention_mask"] = torch.ones_like(clip_step["input_ids"])
            assert model(**clip_step).logits[0, -1].argmax() == generated[row, step]


def test_freezing_keeps_parts_out_of_autograd_and_in_evaluation_mode(make_tiny):
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


def test_gradient_checkpointing_changes_no_gradient(make_tiny):
    gradients = []
    for checkpointing in (False, True):
        model, processor = make_tiny()
        if checkpointing:
            enable_activation_checkpointing(model)
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.emotion_qformer.qformer.config.attention_probs_dropout_prob = 0.0
        torch.manual_seed(1)
        model(**processor(audio=waveforms(16000), emotion=["happy"])).loss.backward()
        gradients.append(model.audio_tower.layers[0].fc1.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)


def test_checkpoint_round_trip_keeps_scores(tiny, tmp_path: Path):
    model, processor = tiny
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, loaded_processor = (
        MSERForEmotionGeneration.from_pretrained(tmp_path),
        MSERProcessor.from_pretrained(tmp_path),
    )
    clips, words = waveforms(16000, 31773), ["happy", "very tired"]
    before = model.score_emotions(**processor(audio=clips), candidate_ids=processor.candidate_ids(words))
    after = loaded.score_emotions(**loaded_processor(audio=clips), candidate_ids=loaded_processor.candidate_ids(words))
    assert torch.equal(before, after)
    assert loaded.config.emotion_words == model.config.emotion_words


def test_half_precision_keeps_the_qformer_in_full(tiny, tmp_path: Path):
    model, processor = tiny
    model.save_pretrained(tmp_path)
    loaded = MSERForEmotionGeneration.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert loaded.language_model.lm_head.weight.dtype == loaded.audio_tower.conv1.weight.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in loaded.emotion_qformer.parameters()} == {torch.float32}
    clips, words = waveforms(16000), ["happy", "sad"]
    full = model.score_emotions(**processor(audio=clips), candidate_ids=processor.candidate_ids(words))
    half = loaded.score_emotions(**processor(audio=clips), candidate_ids=processor.candidate_ids(words))
    torch.testing.assert_close(half, full, atol=0.3, rtol=0)


def test_the_config_survives_json_and_follows_the_encoder(tmp_path: Path):
    config = MSERConfig(audio_config={"d_model": 96}, encoder_layers=[4, 2], qformer_config={"hidden_size": 64})
    config.save_pretrained(tmp_path)
    loaded = MSERConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert loaded.qformer_config.encoder_hidden_size == 96
    assert loaded.used_encoder_layers == (2, 4)


def test_a_tuple_is_returned_where_one_is_asked_for(tiny):
    model, processor = tiny
    inputs = processor(audio=[0.1 * np.ones(8000, np.float32)], emotion=["happy"])
    outputs = model(**inputs)
    loss, logits, *_ = model(**inputs, return_dict=False)
    assert torch.equal(loss, outputs.loss) and torch.equal(logits, outputs.logits)
