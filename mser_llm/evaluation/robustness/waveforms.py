# SPDX-License-Identifier: Apache-2.0
"""Perturb waveforms: added sound, recording and transmission, and time.

Each function takes a waveform `(num_samples,)` at 16 kHz and, as far as it needs them, a level, a random generator and
the waveforms of other clips.
"""

import io
from functools import cache

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, correlate, fftconvolve, sosfiltfilt

from processing_mser.audio_mser import SAMPLING_RATE


REVERBERATION_SECONDS = 0.6
# Reflections start here; earlier sound belongs to the direct path (ACE challenge, Eaton et al. 2016).
_DIRECT_SECONDS = 0.0025
TELEPHONE_RATE = 8000
TELEPHONE_BAND = (300.0, 3400.0)
# libsndfile takes a compression level from 0 to 1, linear in kbit/s between these limits for one channel.
_MP3_RATES, _OPUS_RATES = (160.0, 8.0), (256.0, 6.0)
# Maximum delay of a codec.
_DELAY_SECONDS = 0.2
_FADE_SECONDS = 0.01


def rms(waveform: np.ndarray) -> float:
    """Compute the root mean square."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def mix(waveform: np.ndarray, noise: np.ndarray, decibels: float) -> np.ndarray:
    """Add noise to speech, both `(num_samples,)`, at a ratio of mean powers over the complete clip."""
    level = rms(noise)
    if not level:
        return waveform
    return waveform + noise * (rms(waveform) / level * 10 ** (-decibels / 20))


def white(waveform: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise at a signal-to-noise ratio."""
    return mix(waveform, rng.standard_normal(len(waveform)), decibels)


def babble(waveform: np.ndarray, decibels: float, rng: np.random.Generator, *speakers: np.ndarray) -> np.ndarray:
    """Add several equally loud speakers at a joint signal-to-noise ratio."""
    noise = np.zeros(len(waveform))
    for speaker in speakers:
        noise += _fit_length(speaker, len(waveform), rng) / max(rms(speaker), 1e-12)
    return mix(waveform, noise, decibels)


def overlap(waveform: np.ndarray, decibels: float, rng: np.random.Generator, voice: np.ndarray) -> np.ndarray:
    """Add one other speaker over the complete clip at a speaker-to-other ratio."""
    return mix(waveform, _fit_length(voice, len(waveform), rng), decibels)


def reverberate(waveform: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """Add reverberation that decays by 60 dB in `REVERBERATION_SECONDS`, at a direct-to-reverberant ratio.

    The impulse response is Polack's model: the direct path followed by white Gaussian noise with an exponential
    envelope (Polack 1988; a more distant speaker has a lower ratio). The length and RMS level of the clip are kept.
    """
    response = room_response(decibels, rng)
    return _at_level_of(waveform, fftconvolve(waveform, response)[: len(waveform)])


def room_response(decibels: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the impulse response of `reverberate`, `(num_samples,)` at 16 kHz, starting with the direct path of 1."""
    times = np.arange(int(REVERBERATION_SECONDS * SAMPLING_RATE)) / SAMPLING_RATE
    tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / REVERBERATION_SECONDS)
    tail[times < _DIRECT_SECONDS] = 0
    tail *= 10 ** (-decibels / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return tail


def telephone(waveform: np.ndarray, *_: object) -> np.ndarray:
    """Filter to 300 to 3400 Hz at 8 kHz and resample back to 16 kHz."""
    narrow = soxr.resample(waveform.astype(np.float64), SAMPLING_RATE, TELEPHONE_RATE)
    # Filtering forwards and backwards avoids a delay and doubles the order to eight.
    narrow = sosfiltfilt(_telephone_filter(), narrow, padlen=min(60, len(narrow) - 1))
    return _fitted(soxr.resample(narrow, TELEPHONE_RATE, SAMPLING_RATE), len(waveform))


@cache
def _telephone_filter() -> np.ndarray:
    return butter(4, TELEPHONE_BAND, btype="bandpass", fs=TELEPHONE_RATE, output="sos")


def limit_band(waveform: np.ndarray, kilohertz: float, *_: object) -> np.ndarray:
    """Remove everything above a frequency by resampling to twice that frequency and back to 16 kHz."""
    rate = round(2000 * kilohertz)
    narrow = soxr.resample(waveform.astype(np.float64), SAMPLING_RATE, rate)
    return _fitted(soxr.resample(narrow, rate, SAMPLING_RATE), len(waveform))


def mp3(waveform: np.ndarray, kilobits: float, *_: object) -> np.ndarray:
    """Encode and decode as MP3 at a constant rate in kbit/s, one of 8, 16, 24, 32, 40, 48, 56, 64, … at 16 kHz."""
    return _coded(waveform, kilobits, _MP3_RATES, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT")


def opus(waveform: np.ndarray, kilobits: float, *_: object) -> np.ndarray:
    """Encode and decode as Opus at a nominal rate of 6 to 256 kbit/s; the codec varies the rate."""
    return _coded(waveform, kilobits, _OPUS_RATES, format="OGG", subtype="OPUS")


def _coded(waveform: np.ndarray, kilobits: float, rates: tuple[float, float], **form: str) -> np.ndarray:
    # Codecs clip at full scale, which is not the condition tested here.
    scale = max(1.0, float(np.abs(waveform).max()) / 0.95)
    level = (rates[0] - kilobits) / (rates[0] - rates[1])
    buffer = io.BytesIO()
    # LAME rejects a level of exactly 1.
    soundfile.write(buffer, waveform / scale, SAMPLING_RATE, compression_level=min(level, 0.999), **form)
    buffer.seek(0)
    decoded, rate = soundfile.read(buffer, dtype="float64")
    if rate != SAMPLING_RATE:
        decoded = soxr.resample(decoded, rate, SAMPLING_RATE)
    longest = min(int(_DELAY_SECONDS * SAMPLING_RATE), len(decoded))
    delay = int(correlate(decoded, waveform, mode="full")[len(waveform) - 1 :][:longest].argmax())
    return _fitted(decoded[delay:], len(waveform)) * scale


def clip(waveform: np.ndarray, decibels: float, *_: object) -> np.ndarray:
    """Clip a recording whose peak exceeds full scale by a number of dB; the RMS level is kept."""
    ceiling = float(np.abs(waveform).max()) * 10 ** (-decibels / 20)
    return _at_level_of(waveform, np.clip(waveform, -ceiling, ceiling))


def change_level(waveform: np.ndarray, decibels: float, *_: object) -> np.ndarray:
    """Apply a gain without clipping."""
    return waveform * 10 ** (decibels / 20)


def change_speed(waveform: np.ndarray, factor: float, *_: object) -> np.ndarray:
    """Change tempo and pitch by a factor (Ko et al. 2015, Sec. 2.3)."""
    return soxr.resample(waveform.astype(np.float64), SAMPLING_RATE * factor, SAMPLING_RATE)


def truncate(waveform: np.ndarray, seconds: float, *_: object) -> np.ndarray:
    """Keep the beginning of a clip."""
    return waveform[: int(seconds * SAMPLING_RATE)]


def join(waveform: np.ndarray, _level: float, _rng: np.random.Generator, other: np.ndarray) -> np.ndarray:
    """Join the first half of a clip to the second half of another at the same RMS level, with a 10 ms crossfade."""
    fade = min(int(_FADE_SECONDS * SAMPLING_RATE), len(waveform) // 2, len(other) // 2)
    first, second = waveform[: len(waveform) // 2 + fade].astype(np.float64), other[len(other) // 2 :]
    second = second * (rms(waveform) / max(rms(other), 1e-12))
    rise = np.linspace(0.0, 1.0, fade)
    seam = first[len(first) - fade :] * (1 - rise) + second[:fade] * rise
    return np.concatenate([first[: len(first) - fade], seam, second[fade:]])


def _at_level_of(waveform: np.ndarray, changed: np.ndarray) -> np.ndarray:
    return changed * (rms(waveform) / max(rms(changed), 1e-12))


def _fit_length(voice: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Repeat a waveform to a length, starting at a random sample."""
    start = int(rng.integers(len(voice)))
    return np.resize(np.roll(voice, -start), length).astype(np.float64)


def _fitted(waveform: np.ndarray, length: int) -> np.ndarray:
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))
