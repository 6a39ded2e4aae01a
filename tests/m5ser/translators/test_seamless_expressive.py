# SPDX-License-Identifier: Apache-2.0
"""Test the worker, its protocol and the order of its steps with a fake package of the same names.

SeamlessExpressive's weights are gated, and its package conflicts with this project's dependencies.
"""

import sys
import textwrap
from dataclasses import replace

import numpy as np
import psutil
import pytest

from mser_llm.data.translator import LanguageError, TranslatorStartError, build_translator
from mser_llm.m5ser.translators.process import TranslatorProcess


FAKE_PACKAGE = {
    "seamless_communication/store.py": """
        def add_gated_assets(folder):
            assert (folder / 'm2m_expressive_unity.pt').is_file()
    """,
    "seamless_communication/models/unity.py": """
        from types import SimpleNamespace
        def load_unity_unit_tokenizer(model):
            return SimpleNamespace(vocab_info=('vocabulary', model))
        def load_gcmvn_stats(vocoder):
            return [1.0] * 80, [2.0] * 80
    """,
    "seamless_communication/inference.py": """
        import torch
        from types import SimpleNamespace
        class Translator:
            def __init__(self, model, vocoder_name_or_card, device, dtype):
                assert vocoder_name_or_card is None and dtype == torch.float32
                print('loading', model)
            def predict(self, source, task, language, duration_factor, prosody_encoder_input):
                assert task == 's2st' and source['seqs'].shape == prosody_encoder_input['seqs'].shape
                assert int(source['seq_lens'][0]) == source['seqs'].shape[1]
                # Each band without its mean and deviation; the prosody, by the vocoder's own.
                assert abs(float(source['seqs'].mean())) < 1e-4
                assert torch.allclose(source['seqs'].std(1), torch.tensor(1.0), atol=1e-3)
                level = float(prosody_encoder_input['seqs'].mean()) * 2 + 1
                if level > 40:
                    raise RuntimeError('CUDA out of memory')
                return [f'*{language}* = hello'], SimpleNamespace(units=[[level, duration_factor]])
    """,
    "seamless_communication/cli/expressivity/predict/pretssel_generator.py": """
        import torch
        from types import SimpleNamespace
        class PretsselGenerator:
            output_sample_rate = 24000
            def __init__(self, vocoder, vocab_info, device, dtype):
                assert vocab_info == ('vocabulary', 'seamless_expressivity') and vocoder == 'vocoder_pretssel'
            def predict(self, units, tgt_lang, prosody_encoder_input):
                wave = torch.tensor(units[0] + [float(len(tgt_lang))]).repeat(10)[None, None]
                return SimpleNamespace(audio_wavs=[wave[0]], sample_rate=24000)
    """,
    "fairseq2/data/audio.py": """
        import torch
        class WaveformToFbankConverter:
            def __init__(self, num_mel_bins, waveform_scale, channel_last, standardize, device, dtype):
                assert (num_mel_bins, waveform_scale, channel_last, standardize) == (80, 32768, True, False)
            def __call__(self, sound):
                assert sound['sample_rate'] == 16000 and sound['waveform'].shape[1] == 1
                frames = sound['waveform'][:1600, 0].reshape(20, 80)
                return {'fbank': frames}
    """,
}


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """The options of an environment with the fake package and a file of fake weights."""
    for name, text in FAKE_PACKAGE.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    (tmp_path / "m2m_expressive_unity.pt").write_bytes(b"weights")
    return {"python": sys.executable, "model_dir": str(tmp_path)}


def test_seamless_follows_the_steps_of_expressivity_predict(environment, make_clips):
    translator = build_translator("seamless_expressive", environment)
    try:
        assert translator.sampling_rate == 24_000
        worker = translator._worker.pid
        for language, code, factor in (("de", "deu", 1.1), ("fr", "fra", 1.2), ("zh", "cmn", 1.0)):
            clips = make_clips("a", "b")
            for clip, translation in zip(clips, translator.translate(clips, language)):
                level = clip.waveform[:1600].mean()
                np.testing.assert_allclose(translation.waveform, np.tile([level, factor, 3.0], 10), atol=1e-4)
                assert (translation.sampling_rate, translation.transcript) == (24_000, f"{code} hello")
                assert translation.metadata == {"duration_factor": factor}
        assert translator._worker.pid == worker, "one worker for all batches"
        with pytest.raises(LanguageError, match="'ru'"):
            translator.translate(make_clips("a"), "ru")
    finally:
        translator.close()


def test_seamless_worker_crash_costs_one_clip_and_the_worker_dies_with_its_parent(environment, make_clips):
    process = TranslatorProcess("seamless_expressive", {**environment, "duration_factors": {"es": 1.5}})
    bad, good = make_clips("bad", "good")
    bad = replace(bad, waveform=bad.waveform + np.float32(50.0))
    try:
        failed, translation = process.translate([bad, good], "es")
        assert "RuntimeError: CUDA out of memory" in str(failed)
        assert translation.metadata == {"duration_factor": 1.5}
        factors = process.fingerprint()["duration_factors"]
        assert (factors["es"], factors["fr"]) == (1.5, 1.0)
        assert process.non_commercial and not process.redistribution
        if sys.platform == "linux":  # which has a parent-death signal
            parent = psutil.Process(process._worker.pid)
            workers = parent.children()
            parent.kill()
            assert len(workers) == 1 and psutil.wait_procs(workers, timeout=20)[1] == []
    finally:
        process.close()


def test_seamless_rejects_factors_of_unknown_languages(environment):
    with pytest.raises(ValueError, match=r"duration_factors.*ru"):
        build_translator("seamless_expressive", {**environment, "duration_factors": {"ru": 1.0}})


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, "seamless_communication"),
        ({"python": "/no/python"}, "/no/python"),
        ({"model_dir": "/no/dir"}, "/no/dir"),
    ],
)
def test_seamless_start_errors_name_the_missing_part(environment, monkeypatch, options, value):
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(TranslatorStartError, match=rf"{value}.*https://huggingface.co/facebook/seamless-expressive"):
        build_translator("seamless_expressive", {**environment, **options})
