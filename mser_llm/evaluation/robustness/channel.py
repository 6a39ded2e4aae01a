# SPDX-License-Identifier: Apache-2.0
"""Perturbations by recording and transmission: telephone band, lossy codecs, clipping, level."""

import io
from functools import cache

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, correlate, sosfiltfilt

from mser_llm.evaluation.robustness.noise import rms
from processing_mser.audio_mser import SAMPLING_RATE


TELEPHONE_RATE = 8000
TELEPHONE_BAND = (300.0, 3400.0)
# libsndfile takes a compression level from 0 to 1, linear in kbit/s between these limits for one channel.
_MP3_RATES, _OPUS_RATES = (160.0, 8.0), (256.0, 6.0)
# Maximum delay of a codec.
_DELAY_SECONDS = 0.2


def telephone(waveform: np.ndarray) -> np.ndarray:
    """Filter to 300 to 3400 Hz at 8 kHz and resample back to 16 kHz."""
    narrow = soxr.resample(waveform.astype(np.float64), SAMPLING_RATE, TELEPHONE_RATE)
    # Filtering forwards and backwards avoids a delay and doubles the order to eight.
    narrow = sosfiltfilt(_telephone_filter(), narrow, padlen=min(60, len(narrow) - 1))
    return _fitted(soxr.resample(narrow, TELEPHONE_RATE, SAMPLING_RATE), len(waveform))


def limit_band(waveform: np.ndarray, kilohertz: float) -> np.ndarray:
    """Remove everything above a frequency by resampling to twice that frequency and back to 16 kHz."""
    rate = round(2000 * kilohertz)
    narrow = soxr.resample(waveform.astype(np.float64), SAMPLING_RATE, rate)
    return _fitted(soxr.resample(narrow, rate, SAMPLING_RATE), len(waveform))


@cache
def _telephone_filter() -> np.ndarray:
    return butter(4, TELEPHONE_BAND, btype="bandpass", fs=TELEPHONE_RATE, output="sos")


def mp3(waveform: np.ndarray, kilobits: float) -> np.ndarray:
    """Encode and decode as MP3 at a constant rate in kbit/s, one of 8, 16, 24, 32, 40, 48, 56, 64, … at 16 kHz."""
    return _coded(waveform, kilobits, _MP3_RATES, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT")


def opus(waveform: np.ndarray, kilobits: float) -> np.ndarray:
    """Encode and decode as Opus at a nominal rate of 6 to 256 kbit/s; the codec varies the rate."""
    return _coded(waveform, kilobits, _OPUS_RATES, format="OGG", subtype="OPUS")


def _coded(waveform: np.ndarray, kilobits: float, rates: tuple[float, float], **form: str) -> np.ndarray:
    peak = float(np.abs(waveform).max())
    # Codecs clip at full scale, which is not the condition tested here.
    scale = max(1.0, peak / 0.95)
    level = (rates[0] - kilobits) / (rates[0] - rates[1])
    buffer = io.BytesIO()
    # LAME rejects a level of exactly 1.
    soundfile.write(buffer, waveform / scale, SAMPLING_RATE, compression_level=min(level, 0.999), **form)
    buffer.seek(0)
    decoded, rate = soundfile.read(buffer, dtype="float64")
    if rate != SAMPLING_RATE:
        decoded = soxr.resample(decoded, rate, SAMPLING_RATE)
    return _fitted(decoded[_delay(waveform, decoded) :], len(waveform)) * scale


def _delay(waveform: np.ndarray, decoded: np.ndarray) -> int:
    """Estimate the delay of a decoder's output in samples."""
    longest = min(int(_DELAY_SECONDS * SAMPLING_RATE), len(decoded))
    match = correlate(decoded, waveform, mode="full")[len(waveform) - 1 :]
    return int(match[:longest].argmax())


def clip(waveform: np.ndarray, decibels: float) -> np.ndarray:
    """Clip a recording whose peak exceeds full scale by a number of dB; the RMS level is kept."""
    ceiling = float(np.abs(waveform).max()) * 10 ** (-decibels / 20)
    cut = np.clip(waveform, -ceiling, ceiling)
    return cut * (rms(waveform) / max(rms(cut), 1e-12))


def change_level(waveform: np.ndarray, decibels: float) -> np.ndarray:
    """Apply a gain without clipping."""
    return waveform * 10 ** (decibels / 20)


def _fitted(waveform: np.ndarray, length: int) -> np.ndarray:
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))
