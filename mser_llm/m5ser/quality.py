# SPDX-License-Identifier: Apache-2.0
"""What the quality gates measure on a translation; all clips are float32 (samples,) at 16 kHz."""

import numpy as np

from processing_mser.audio_mser import SAMPLING_RATE


FULL_SCALE = 0.999
SILENT_DECIBELS = -40.0
"""Of a frame, against the loudest frame of the clip."""
_FRAME = SAMPLING_RATE // 50
_CONTOUR_POINTS = 100
_MIN_VOICED_FRAMES = 10
_SHORTEST_FOR_PITCH = 0.1


def clipping(clip: np.ndarray) -> float:
    """Share of the samples that lie at full scale, 0 to 1."""
    return float(np.mean(np.abs(clip) >= FULL_SCALE))


def silence(clip: np.ndarray) -> float:
    """Share of the 20 ms frames that lie 40 dB or more under the loudest one, 0 to 1; a rest of a frame counts not."""
    frames = clip[: len(clip) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    power = np.mean(frames**2, axis=1)
    if not power.any():
        return 1.0
    return float(np.mean(power <= power.max() * 10 ** (SILENT_DECIBELS / 10)))


def duration_ratio(clip: np.ndarray, source: np.ndarray) -> float:
    """Duration as a multiple of the source's."""
    return len(clip) / len(source)


def f0_correlation(clip: np.ndarray, source: np.ndarray) -> float | None:
    """Pearson correlation of the two melodies: log F0 over the voiced stretch, as a share of its length.

    A translation has other words and another length, so only the broad course can agree.

    Returns:
        -1 to 1; None where either clip has less than 0.1 s of voice, or one melody is level throughout.

    Raises:
        ImportError: praat-parselmouth is not installed.
    """
    first, second = _melody(clip), _melody(source)
    if first is None or second is None or first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def require_pitch() -> None:
    """
    Raises:
        ImportError: praat-parselmouth, which `f0_correlation` needs, is not installed.
    """
    try:
        import parselmouth  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "min_f0_correlation needs praat-parselmouth (module parselmouth not found); "
            "install the extra: pip install 'mser-llm[m5ser]' (it is GPL-3.0)"
        ) from error


def _melody(clip: np.ndarray) -> np.ndarray | None:
    """log2 F0 (100,) from the first voiced frame to the last, unvoiced gaps bridged by straight lines."""
    require_pitch()
    import parselmouth

    if len(clip) < _SHORTEST_FOR_PITCH * SAMPLING_RATE:
        return None
    pitch = parselmouth.Sound(clip.astype(np.float64), SAMPLING_RATE).to_pitch(time_step=0.01)
    hertz = pitch.selected_array["frequency"]
    voiced = np.flatnonzero(hertz > 0)
    if len(voiced) < _MIN_VOICED_FRAMES:
        return None
    return np.interp(np.linspace(voiced[0], voiced[-1], _CONTOUR_POINTS), voiced, np.log2(hertz[voiced]))
