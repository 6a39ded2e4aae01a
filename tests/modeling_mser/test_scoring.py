# SPDX-License-Identifier: Apache-2.0
"""Label scoring compared with a plain loop: one forward pass per clip and label."""

import numpy as np
import pytest
import torch
from audio_files import waveforms

from modeling_mser.scoring_mser import supports_tree_attention
from mser_llm.inference.tokenizer import build_tokenizer
from processing_mser import MSERProcessor


WORDS = ["happy", "sad", "sadness", "very tired", "überrascht", "angry"]


@torch.no_grad()
def plain_loop(model, processor, clips: list[np.ndarray], words: list[str]) -> torch.Tensor:
    """Compute the log-probability of each label and eos token by token, each clip alone."""
    scores = torch.zeros(len(clips), len(words))
    for row, clip in enumerate(clips):
        for column, word in enumerate(words):
            inputs = processor(audio=[clip], emotion=[word])
            labels = inputs.pop("labels")[0]
            log_probabilities = model(**inputs).logits[0].log_softmax(-1)
            for position in range(1, len(labels)):
                if labels[position] != -100:
                    scores[row, column] += log_probabilities[position - 1, labels[position]]
    return scores


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_scores_equal_the_plain_loop(tiny, attention: str):
    model, processor = tiny
    model.set_attn_implementation(attention)
    clips = waveforms(31773, 16000, 48080)
    candidates = processor.candidate_ids(WORDS)
    assert len({len(ids) for ids in candidates}) > 2, "the labels should differ in their number of tokens"
    scores = model.score_emotions(**processor(audio=clips), candidate_ids=candidates)
    torch.testing.assert_close(scores, plain_loop(model, processor, clips, WORDS), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("wrong", [["sad", "happy"], [5, 2], torch.tensor([[5, 2], [6, 2]]), []])
def test_invalid_candidate_ids_are_rejected(tiny, wrong):
    model, processor = tiny
    with pytest.raises(ValueError, match="candidate_ids"):
        model.score_emotions(**processor(audio=waveforms(8000)), candidate_ids=wrong)


def test_learned_positions_and_tied_embeddings_score_the_same(make_tiny):
    sizes = {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": len(build_tokenizer())}
    model, processor = make_tiny(text_config=sizes | {"model_type": "gpt2", "tie_word_embeddings": True})
    clips = waveforms(16000, 24000)
    prompts = ["Emotion:", "What is the emotion of the speaker?"]
    candidates = processor.candidate_ids(WORDS)
    together = model.score_emotions(**processor(audio=clips, prompt=prompts), candidate_ids=candidates)
    for row in range(2):
        alone = model.score_emotions(
            **processor(audio=clips[row : row + 1], prompt=prompts[row]), candidate_ids=candidates
        )
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(
        model.score_emotions(**processor(audio=clips), candidate_ids=candidates),
        plain_loop(model, processor, clips, WORDS),
        atol=1e-5,
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    "text",
    [
        {"model_type": "lfm2", "layer_types": ["conv", "full_attention"], "num_key_value_heads": 2},
        {"model_type": "mamba2", "num_heads": 4, "head_dim": 24, "state_size": 8, "n_groups": 1, "expand": 2},
        {"model_type": "bloom", "n_layer": 2, "n_head": 4},
        {"model_type": "mpt", "d_model": 48, "n_layers": 2, "n_heads": 4},
    ],
    ids=lambda text: text["model_type"],
)
def test_models_without_tree_attention_score_each_label_alone(make_tiny, text: dict):
    _, processor = make_tiny()
    sizes = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    own = {} if text["model_type"] == "mpt" else sizes
    model, processor = make_tiny(text_config=own | text | {"vocab_size": len(processor.tokenizer)})
    assert not supports_tree_attention(model.language_model)
    clips = waveforms(16000, 24000)
    expected = plain_loop(model, processor, clips, WORDS)
    for order in (WORDS, WORDS[::-1]):
        scores = model.score_emotions(**processor(audio=clips), candidate_ids=processor.candidate_ids(order))
        wanted = expected if order is WORDS else expected.flip(1)
        torch.testing.assert_close(scores, wanted, atol=1e-4, rtol=1e-5)


def test_label_that_begins_another_is_not_favored(tiny):
    """Without eos "sad" could never be less likely than "sadness"; with it the two compete."""
    model, processor = tiny
    tokens = processor.tokenizer.encode(" sad", add_special_tokens=False)
    eos = processor.tokenizer.eos_token_id
    longer = [*tokens, 300, eos]
    inputs = processor(audio=waveforms(16000))
    with torch.no_grad():
        model.language_model.lm_head.weight[300] += 10 * model.language_model.lm_head.weight[300]
    short, long, bare = model.score_emotions(**inputs, candidate_ids=[[*tokens, eos], longer, tokens])[0]
    assert short < bare and long < bare


def test_any_number_of_labels_costs_one_pass(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000))
    passes = []
    model.language_model.register_forward_hook(lambda *_: passes.append(1))
    model.score_emotions(**inputs, candidate_ids=[[10], [11]])
    assert len(passes) == 1
    model.score_emotions(**inputs, candidate_ids=processor.candidate_ids([*WORDS] * 8))
    assert len(passes) == 2, "48 words must cost one pass, as two do"


def test_length_normalize_and_prior_correction(tiny):
    model, processor = tiny
    inputs = processor(audio=waveforms(16000, 20000))
    candidates = processor.candidate_ids(WORDS)
    plain = model.score_emotions(**inputs, candidate_ids=candidates)
    lengths = torch.tensor([len(ids) for ids in candidates])
    normalized = model.score_emotions(**inputs, candidate_ids=candidates, length_normalize=True)
    torch.testing.assert_close(normalized, plain / lengths)
    corrected = model.score_emotions(**inputs, candidate_ids=candidates, prior_correction=True)
    silence = processor.extract_features([np.zeros(16000, dtype=np.float32)])
    prior = model.score_emotions(
        **(processor.encode_text(1) | {"input_features": silence["input_features"]}), candidate_ids=candidates
    )
    torch.testing.assert_close(corrected, plain - prior, atol=1e-4, rtol=0)


@torch.no_grad()
def test_prior_correction_pads_silence_like_the_clips(tiny):
    """With `pad_to` 30s, silence is padded to 30 s too. A batch may contain both."""
    model, processor = tiny
    candidates = processor.candidate_ids(WORDS)
    clips = waveforms(16000, 20000)

    def corrected(inputs: dict) -> torch.Tensor:
        return model.score_emotions(**inputs, candidate_ids=candidates, prior_correction=True)

    stock = MSERProcessor(
        processor.feature_extractor, processor.tokenizer, num_query_tokens=processor.num_query_tokens, pad_to="30s"
    )
    alike = {}
    for own in (processor, stock):
        silence = own.extract_features([np.zeros(16000, dtype=np.float32)]) | own.encode_text(1)
        prior = model.score_emotions(**silence, candidate_ids=candidates)
        inputs = own(audio=clips)
        alike[own.pad_to] = model.score_emotions(**inputs, candidate_ids=candidates) - prior
        torch.testing.assert_close(corrected(inputs), alike[own.pad_to], atol=1e-4, rtol=0)
        features, mask = inputs.pop("input_features"), inputs.pop("input_features_mask")
        states, mask = model.encode_audio(features, mask)
        cached = inputs | {"encoder_states": states, "encoder_mask": mask}
        torch.testing.assert_close(corrected(cached), alike[own.pad_to], atol=1e-4, rtol=0)
    assert (alike["30s"] - alike["longest"]).abs().max() > 1e-3
    mixed = processor(audio=[clips[0], *waveforms(480000)])
    alone = [corrected(processor(audio=[clip])) for clip in (clips[0], *waveforms(480000))]
    torch.testing.assert_close(corrected(mixed), torch.cat(alone), atol=1e-4, rtol=0)


@pytest.mark.parametrize("read", ["one pass", "label by label"])
@pytest.mark.parametrize("half", ["weights", "autocast"])
def test_half_precision_scores_candidates_in_float32(tiny, monkeypatch, read: str, half: str):
    """A bfloat16 logit of 20 is rounded to a step of 0.125, which would change the probabilities."""
    model, processor = tiny
    with torch.no_grad():
        model.language_model.lm_head.weight.mul_(100)
    if half == "weights":
        model.language_model.to(torch.bfloat16)
    if read == "label by label":
        monkeypatch.setattr("modeling_mser.scoring_mser.supports_tree_attention", lambda _: False)
    states = []
    model.language_model.lm_head.register_forward_hook(lambda _, args, __: states.append(args[0].detach()))
    inputs = processor(audio=waveforms(8000, 12000))
    words = [[17], [23], [40], [41]]  # one token each
    with torch.autocast("cpu", torch.bfloat16, enabled=half == "autocast"):
        scores = model.score_emotions(**inputs, candidate_ids=words)
    weight = model.language_model.lm_head.weight.detach().double()
    logits = states[0][:, -1].double() @ weight.T
    assert logits.abs().max() > 20
    expected = logits[:, [17, 23, 40, 41]]
    torch.testing.assert_close(scores.double() - scores.double()[:, :1], expected - expected[:, :1], atol=1e-3, rtol=0)


def test_half_precision_keeps_rescaled_logits(make_tiny):
    model, processor = make_tiny()
    model.language_model.to(torch.bfloat16)
    inputs = processor(audio=waveforms(8000, 12000))
    words = processor.candidate_ids(["happy", "sad"])
    plain = model.score_emotions(**inputs, candidate_ids=words)
    handle = model.language_model.lm_head.register_forward_hook(lambda _, __, output: output / 8)
    scaled = model.score_emotions(**inputs, candidate_ids=words)
    handle.remove()
    assert (scaled - plain).abs().max() > 0.1
    model.language_model.to(torch.float32)
    model.language_model.lm_head.register_forward_hook(lambda _, __, output: output / 8)
    expected = model.score_emotions(**inputs, candidate_ids=words)
    torch.testing.assert_close(scaled, expected, atol=0.05, rtol=0.02)
