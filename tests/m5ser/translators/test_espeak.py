# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr

from mser_llm.data.synthesis import demo_speech
from mser_llm.data.synthesis.demo_speech import DEMO_SENTENCES, demo_rows, speak_row
from mser_llm.data.synthesis.espeak import Espeak
from mser_llm.data.translator import LanguageError, SourceClip, TranslationError, build_translator
from mser_llm.m5ser.translators.espeak import voice_of


pytest.importorskip("espeakng_loader")
parselmouth = pytest.importorskip("parselmouth")

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def translator():
    translator = build_translator("espeak", {})
    yield translator
    translator.close()


def demo_clips(count):
    rows = demo_rows("nowhere", languages=["en"], clips_per_language=count, seed=0)
    with Espeak() as espeak:
        return rows, [
            SourceClip(
                id=row["id"],
                waveform=speak_row(espeak, row, 0),
                language="en",
                transcript=row["transcript"],
                speaker=row["speaker"],
                gender=row["gender"],
                source_corpus="demo-speech",
            )
            for row in rows
        ]


@pytest.fixture(scope="module")
def clips():
    """One English clip of each emotion."""
    return demo_clips(7)[1]


def test_espeak_speaks_the_parallel_sentence_in_the_speakers_voice(translator, clips):
    for language in ("fr", "zh"):
        for clip, translation in zip(clips, translator.translate(clips, language)):
            place = DEMO_SENTENCES["en"].index(clip.transcript)
            assert translation.transcript == DEMO_SENTENCES[language][place]
            assert translation.sampling_rate == 16_000
            assert translation.waveform.dtype == np.float32
            assert 0.5 < len(translation.waveform) / 16_000 < 6.0
            assert 0.01 < np.abs(translation.waveform).max() < 0.98
            assert f"demo-speech-{translation.metadata['voice']}" == clip.speaker


def test_espeak_is_reproducible_in_any_order_and_process(translator, clips, tmp_path):
    forward = [translation.waveform for translation in translator.translate(clips[:3], "de")]
    backward = [translator.translate([clip], "de")[0].waveform for clip in clips[2::-1]]
    for one, other in zip(forward, backward[::-1]):
        np.testing.assert_array_equal(one, other)
    np.save(tmp_path / "clip.npy", clips[1].waveform)
    code = (
        "import numpy as np\n"
        "from mser_llm.data.translator import SourceClip, build_translator\n"
        f"fields = {[getattr(clips[1], name) for name in ('transcript', 'speaker', 'gender', 'source_corpus')]!r}\n"
        f"clip = SourceClip({clips[1].id!r}, np.load({str(tmp_path / 'clip.npy')!r}), 'en', *fields)\n"
        "translator = build_translator('espeak', {})\n"
        f"np.save({str(tmp_path / 'answer.npy')!r}, translator.translate([clip], 'de')[0].waveform)\n"
        "translator.close()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "answer.npy"), forward[1])


def test_espeak_error_costs_one_clip(translator, clips):
    unknown = SourceClip("u", clips[0].waveform, "en", "It is no sentence of the bank.")
    silent = SourceClip("s", np.zeros(16_000, np.float32), "en", clips[0].transcript)
    results = translator.translate([unknown, clips[0], silent], "it")
    assert isinstance(results[0], TranslationError)
    assert "It is no sentence of the bank." in str(results[0])
    assert len(results[1].waveform)
    assert isinstance(results[2], TranslationError)
    assert "0.00 s" in str(results[2])
    with pytest.raises(LanguageError, match="'ja'"):
        translator.translate(clips, "ja")


def test_voice_of_is_stable_and_of_the_speakers_gender():
    assert voice_of("demo-speech-linda", None).variant == "linda"
    assert voice_of("folder-demo-speech-linda", None).variant == "linda"
    for gender in ("female", "male"):
        voices = {speaker: voice_of(speaker, gender) for speaker in map(str, range(40))}
        assert {voice.gender for voice in voices.values()} == {gender}
        assert len({voice.variant for voice in voices.values()}) >= 4
        assert voices == {speaker: voice_of(speaker, gender) for speaker in voices}
    held_out = {voice.variant for voice in demo_speech.HELD_OUT_VOICES}
    assert not held_out & {voice_of(str(number), None).variant for number in range(40)}


def praat(waveform):
    """Measure with Praat: median F0 in semitones, seconds of the voiced stretch, dB of the loudest half second."""
    sound = parselmouth.Sound(waveform.astype(np.float64), 16_000)
    track = sound.to_pitch(pitch_floor=60.0, pitch_ceiling=600.0)
    hertz = track.selected_array["frequency"]
    voiced = np.flatnonzero(hertz)
    power = np.convolve(waveform.astype(np.float64) ** 2, np.full(8_000, 1 / 8_000), mode="valid").max()
    pitch = np.median(12 * np.log2(hertz[voiced]))
    return pitch, track.xs()[voiced[-1]] - track.xs()[voiced[0]], 10 * np.log10(power)


def test_espeak_transfers_pitch_rate_and_level(translator, clips):
    neutral = clips[0]

    def translated(waveform):
        clip = SourceClip("x", waveform, "en", neutral.transcript, neutral.speaker)
        return praat(translator.translate([clip], "es")[0].waveform)

    plain = translated(neutral.waveform)
    # Played 1.2 times as fast: up by 3.16 semitones, shorter by 1.2.
    fast = translated(soxr.resample(neutral.waveform, 19_200, 16_000))
    soft = translated(neutral.waveform * np.float32(0.5))
    assert fast[0] - plain[0] == pytest.approx(12 * np.log2(1.2), abs=0.4)
    assert plain[1] / fast[1] == pytest.approx(1.2, abs=0.07)
    assert soft[2] - plain[2] == pytest.approx(-6.02, abs=0.2)
    assert soft[0] == pytest.approx(plain[0], abs=0.1)


@pytest.mark.slow
def test_espeak_prosody_correlates_with_the_source(translator):
    rows, sources = demo_clips(56)
    translations = translator.translate(sources, "de")
    before = np.array([praat(clip.waveform) for clip in sources])
    after = np.array([praat(translation.waveform) for translation in translations])
    # Relative to the speaker, so that the voices themselves do not correlate.
    speakers = np.array([row["speaker"] for row in rows])
    for table in (before, after):
        for speaker in set(speakers):
            table[speakers == speaker] -= table[speakers == speaker].mean(0)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    for column, minimum in enumerate((0.8, 0.6, 0.9)):
        kept = np.corrcoef(before[:, column], after[:, column])[0, 1]
        chance = np.corrcoef(before[shuffled, column], after[:, column])[0, 1]
        assert kept > minimum, (column, kept)
        assert abs(chance) < 0.35, (column, chance)
