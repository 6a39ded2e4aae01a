# SPDX-License-Identifier: Apache-2.0
"""A tiny SeamlessM4T v2 with random weights, saved to a folder and loaded like the real one."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GenerationConfig,
    SeamlessM4TFeatureExtractor,
    SeamlessM4Tv2Config,
    SeamlessM4Tv2ForSpeechToSpeech,
)

from mser_llm.data.translator import LanguageError, TranslatorStartError, build_translator


CODES = ("eng", "fra", "deu", "ita", "cmn", "spa")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    torch.manual_seed(0)
    counts = ("encoder_layers", "decoder_layers", "speech_encoder_layers", "t2u_encoder_layers", "t2u_decoder_layers")
    heads = ("encoder", "decoder", "speech_encoder", "t2u_encoder", "t2u_decoder")
    sizes = ("hidden_size", "encoder_ffn_dim", "decoder_ffn_dim", "speech_encoder_intermediate_size")
    sizes += ("t2u_encoder_ffn_dim", "t2u_decoder_ffn_dim", "t2u_variance_predictor_embed_dim")
    config = SeamlessM4Tv2Config(
        **dict.fromkeys(counts, 1),
        **{f"{part}_attention_heads": 2 for part in heads},
        **dict.fromkeys((*sizes, "upsample_initial_channel"), 16),
        **dict.fromkeys(("t2u_vocab_size", "char_vocab_size", "unit_hifi_gan_vocab_size"), 40),
        **dict.fromkeys(("t2u_variance_predictor_hidden_dim", "unit_embed_dim"), 8),
        **dict.fromkeys(("lang_embed_dim", "spkr_embed_dim"), 4),
        vocab_size=4 + len(LETTERS) + len(CODES),
        max_position_embeddings=64,
        t2u_max_position_embeddings=256,
        upsample_rates=(4, 4),
        upsample_kernel_sizes=(8, 8),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1,),),
        vocoder_num_langs=len(CODES),
        vocoder_num_spkrs=3,
        vocoder_offset=0,
        max_new_tokens=12,
    )
    model = SeamlessM4Tv2ForSpeechToSpeech(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    first = 4 + len(LETTERS)
    settings = GenerationConfig(pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=3)
    settings.id_to_text = {str(4 + i): f"▁{letter}{letter}" for i, letter in enumerate(LETTERS)}
    settings.char_to_id = {letter: 4 + i for i, letter in enumerate(LETTERS)} | {"▁": 3}
    settings.text_decoder_lang_to_code_id = {code: first + i for i, code in enumerate(CODES)}
    settings.t2u_lang_code_to_id = {code: 30 + i for i, code in enumerate(CODES)}
    settings.vocoder_lang_code_to_id = {code: i for i, code in enumerate(CODES)}
    model.generation_config = settings
    folder = tmp_path_factory.mktemp("tiny-m4t")
    model.save_pretrained(folder)
    SeamlessM4TFeatureExtractor().save_pretrained(folder)
    return folder


OPTIONS = {"num_beams": 2, "max_new_tokens": 12}


@pytest.fixture(scope="module")
def translator(tiny_folder):
    return build_translator("seamless_m4t_v2", {"model": str(tiny_folder), **OPTIONS})


def test_m4t_batch_equals_the_models_own_output_per_clip(translator, tiny_folder, make_clips):
    model = SeamlessM4Tv2ForSpeechToSpeech.from_pretrained(tiny_folder).eval()
    extractor = SeamlessM4TFeatureExtractor.from_pretrained(tiny_folder)
    clips = [*make_clips("a", repeats=2), *make_clips("b", repeats=3)]
    alone = [translator.translate([clip], "de")[0] for clip in clips]
    for clip, translation in zip(clips, alone):
        features = extractor(clip.waveform, sampling_rate=16_000, return_tensors="pt")
        generated = model.generate(
            **features, tgt_lang="deu", num_beams=2, text_max_new_tokens=12, return_intermediate_token_ids=True
        )
        length = int(generated.waveform_lengths)
        assert length > 0
        np.testing.assert_allclose(translation.waveform, generated.waveform.reshape(-1)[:length].numpy(), atol=1e-6)
        words = [LETTERS[t - 4] * 2 for t in generated.sequences[0].tolist() if 4 <= t < 4 + len(LETTERS)]
        assert translation.transcript == " ".join(words)
        assert translation.sampling_rate == 16_000
    together = translator.translate(clips, "de")
    assert [translation.waveform.ndim for translation in together] == [1, 1]
    for one, other in zip(together, translator.translate(clips, "de")):
        np.testing.assert_array_equal(one.waveform, other.waveform)


def test_m4t_speaker_changes_the_output_and_the_fingerprint(translator, tiny_folder, make_clips):
    clips = make_clips("a")
    other = build_translator("seamless_m4t_v2", {"model": str(tiny_folder), "speaker_id": 2, **OPTIONS})
    first, second = (one.translate(clips, "de")[0].waveform for one in (translator, other))
    assert first.shape == second.shape
    assert np.abs(first - second).max() > 1e-4
    assert other.fingerprint() != translator.fingerprint()
    assert json.loads(json.dumps(other.fingerprint())) == other.fingerprint()


def test_m4t_translates_into_the_five_languages_only(translator, make_clips):
    for language in ("fr", "de", "it", "zh", "es"):
        assert len(translator.translate(make_clips("a"), language)) == 1
    with pytest.raises(LanguageError, match="'ru'"):
        translator.translate(make_clips("a"), "ru")


def test_m4t_start_errors_name_the_fix(tiny_folder, tmp_path):
    with pytest.raises(TranslatorStartError, match="hf download"):
        build_translator("seamless_m4t_v2", {"model": str(tmp_path)})
    with pytest.raises(ValueError, match="speaker_id 3"):
        build_translator("seamless_m4t_v2", {"model": str(tiny_folder), "speaker_id": 3})
    # Weights without those of the vocoder.
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("vocoder.")}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(TranslatorStartError, match=rf"{len(weights) - len(kept)} tensors.*vocoder"):
        build_translator("seamless_m4t_v2", {"model": str(tmp_path)})
