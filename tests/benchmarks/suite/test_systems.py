# SPDX-License-Identifier: Apache-2.0
"""The compared systems have equal sizes and get the inputs of their own processors."""

import pytest
import torch

from benchmarks.suite.comparisons import against_naive
from benchmarks.suite.peers import granite_speech, qwen2_audio
from benchmarks.suite.sizes import FULL, QUICK, WORDS
from benchmarks.suite.systems import build_own_model, build_packed_model, naive_system, noise, own_system
from mser_llm.inference.packing import PackedLinear, can_pack
from processing_mser import label_set


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("sizes", [FULL, QUICK], ids=["full", "quick"])
@pytest.mark.parametrize("peer", [qwen2_audio, granite_speech])
def test_peer_has_the_same_number_of_parameters(sizes, peer):
    with torch.device("meta"):
        ours, theirs = own_system(sizes, build_own_model(sizes)), peer(sizes)
    for part in ("encoder", "language_model", "model"):
        assert parameters(getattr(theirs, part)) == pytest.approx(parameters(getattr(ours, part)), rel=0.1), part


def test_full_sizes_are_whisper_base_and_100m_parameters():
    with torch.device("meta"):
        ours = own_system(FULL, build_own_model(FULL))
    assert parameters(ours.encoder) == 20_590_592
    assert 90e6 < parameters(ours.language_model) < 110e6


def test_labels_start_with_the_sets_and_have_one_token(own):
    assert WORDS[:7] == label_set("seven").words and WORDS[:4] == label_set("four").words
    assert len(set(WORDS)) == len(WORDS) == 50
    assert {len(ids) for ids in own.candidates(50)} == {2}, "a token and eos"


@torch.inference_mode()
def test_qwen2_audio_pads_to_30_s_and_writes_two_tokens():
    peer = qwen2_audio(QUICK)
    inputs = peer.inputs(2.0, 3)
    assert inputs["input_features"].shape == (3, 80, 3000)
    assert inputs["feature_attention_mask"].sum(-1).tolist() == [200] * 3
    _, tokens = peer.model.model.audio_tower._get_feat_extract_output_lengths(torch.tensor(200))
    assert (inputs["input_ids"] == peer.model.config.audio_token_id).sum(-1).tolist() == [int(tokens)] * 3
    length = inputs["input_ids"].shape[1]
    assert peer.predict(inputs).shape == (3, length + 2)
    assert peer.prefill(inputs).logits.shape[:2] == (3, length)


@torch.inference_mode()
def test_granite_speech_stacks_frames_and_writes_two_tokens():
    peer = granite_speech(QUICK)
    inputs = peer.inputs(2.0, 3)
    assert inputs["input_features"].shape == (3, 100, 160)
    features = peer.model.get_audio_features(inputs["input_features"]).pooler_output
    assert features.shape[:2] == inputs["input_features_mask"].shape == (3, 21)
    assert peer.predict(inputs).shape == (3, inputs["input_ids"].shape[1] + 2)
    assert peer.prefill(inputs).logits.shape[:2] == (3, 1)


@torch.inference_mode()
def test_naive_system_pads_and_computes_all_logits(own):
    ours, naive = own_system(QUICK, own), naive_system(QUICK, own)
    assert ours.inputs(1.0, 2)["input_features"].shape[-1] == 100
    inputs = naive.inputs(1.0, 2)
    assert inputs["input_features"].shape[-1] == 3000 and inputs["input_features_mask"].all()
    length = inputs["input_ids"].shape[1]
    kept = []
    hook = own.model.language_model.register_forward_hook(
        lambda _module, _inputs, out: kept.append(out.logits.shape[1])
    )
    assert naive.predict(inputs).shape == (2, 2)
    hook.remove()
    assert kept == [length, 1]


def test_same_seed_gives_the_same_noise_and_weights(own):
    assert all((one == two).all() for one, two in zip(noise(0.5, 2), noise(0.5, 2), strict=True))
    again = build_own_model(QUICK).model.state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in own.model.state_dict().items())


@torch.inference_mode()
def test_packed_model_predicts_like_the_plain_one(own):
    packed = own_system(QUICK)
    assert any(isinstance(module, PackedLinear) for module in packed.model.modules()) or not can_pack()
    inputs = own.inputs(1.0, 2)
    torch.testing.assert_close(packed.predict(inputs), own_system(QUICK, own).predict(inputs), atol=1e-5, rtol=0)


def test_naive_comparison_measures_each_property(own):
    names = [comparison.name for comparison in against_naive(QUICK, build_packed_model(QUICK), own)]
    assert [name.split(", ")[1] for name in names] == [
        "all", "only 30 s padding", "only unpacked weights", "only generate", "generate with all logits",
    ]  # fmt: skip
