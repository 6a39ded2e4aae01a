# SPDX-License-Identifier: Apache-2.0
"""Filter translations: the paper's bounds on duration and size, and optional quality bounds.

All clips are float32 (samples,) at 16 kHz.
"""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from mser_llm.m5ser.build_config import BuildConfig
from mser_llm.m5ser.clip import Clip, clip_of
from processing_mser.audio_mser import SAMPLING_RATE


FULL_SCALE = 0.999
SILENT_DECIBELS = -40.0
"""Of a frame, relative to the loudest frame of the clip."""
_FRAME = SAMPLING_RATE // 50
_CONTOUR_POINTS = 100
_MIN_VOICED_FRAMES = 10
_MIN_SECONDS_FOR_PITCH = 0.1


class TranslationFilter(PipelineStep):
    """A step that may reject translations. Source rows pass."""

    type = "M5SER"

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield every document, the rejected ones included."""
        assert data is not None
        for document in data:
            clip = clip_of(document)
            if clip.speech is not None and clip.translator is not None:
                self.filter(clip)
            yield document

    @abstractmethod
    def filter(self, clip: Clip) -> None:
        """Reject a translation that is outside the bounds."""


class LengthFilter(TranslationFilter):
    """The paper's filter (arXiv 2503.21806, III-B, Data Filtering).

    Size is that of the clip as 16-bit PCM at 16 kHz without a header, independent of the file format, in units of 1000
    bytes.
    """

    name = "Duration and size"

    def __init__(self, min_seconds: float, min_kilobytes: Mapping[str, float]):
        super().__init__()
        self.min_seconds, self.min_kilobytes = min_seconds, dict(min_kilobytes)

    def filter(self, clip: Clip) -> None:
        assert clip.speech is not None
        minimum = self.min_kilobytes.get(clip.row["corpus"], self.min_kilobytes["default"])
        kilobytes = 2 * len(clip.speech) / 1000
        if clip.seconds < self.min_seconds:
            clip.reject("filter", f"shorter than {self.min_seconds:g} s", clip.seconds)
        elif kilobytes < minimum:
            clip.reject("filter", f"smaller than {minimum:g} KB", kilobytes)


class QualityFilter(TranslationFilter):
    """Bounds that the paper does not have. Each is active only if it is set."""

    name = "Quality"

    def __init__(self, config: BuildConfig):
        super().__init__()
        self.config = config

    def filter(self, clip: Clip) -> None:
        """Reject a translation at the first bound that it violates."""
        assert clip.speech is not None and clip.source is not None
        bounds = self.config
        for name, measure, maximum in (
            ("clipping", clipping, bounds.max_clipping),
            ("silence", silence, bounds.max_silence),
        ):
            if maximum is not None and (value := measure(clip.speech)) > maximum:
                return clip.reject("quality", f"{name} above {maximum:g}", value)
        if bounds.duration_ratio is not None:
            low, high = bounds.duration_ratio
            value = len(clip.speech) / len(clip.source)
            if not low <= value <= high:
                return clip.reject("quality", f"duration ratio outside {low:g} to {high:g}", value)
        if bounds.min_f0_correlation is not None:
            correlation = f0_correlation(clip.speech, clip.source)
            if correlation is None:
                return clip.reject("quality", "too little voiced speech to compare the F0 contour")
            if correlation < bounds.min_f0_correlation:
                return clip.reject("quality", f"F0 correlation below {bounds.min_f0_correlation:g}", correlation)
        return None


def clipping(clip: np.ndarray) -> float:
    """Return the fraction of samples at full scale, 0 to 1."""
    return float(np.mean(np.abs(clip) >= FULL_SCALE))


def silence(clip: np.ndarray) -> float:
    """Return the fraction of complete 20 ms frames at least 40 dB below the loudest one, 0 to 1."""
    frames = clip[: len(clip) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    power = np.mean(frames**2, axis=1)
    if not power.any():
        return 1.0
    return float(np.mean(power <= power.max() * 10 ** (SILENT_DECIBELS / 10)))


def f0_correlation(clip: np.ndarray, source: np.ndarray) -> float | None:
    """Return the Pearson correlation of two F0 contours: log F0 over the voiced stretch, normalized in time.

    A translation has other words and another duration, so only the broad shape can agree. None if either clip has less
    than 0.1 s of voiced speech or a constant contour.
    """
    first, second = _contour(clip), _contour(source)
    if first is None or second is None or first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def require_pitch() -> None:
    """Raise an ImportError with the fix if praat-parselmouth, which `f0_correlation` needs, is not installed."""
    try:
        import parselmouth  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "min_f0_correlation needs praat-parselmouth (module parselmouth not found); "
            "install the extra: pip install 'mser-llm[m5ser]' (it is GPL-3.0)"
        ) from error


def _contour(clip: np.ndarray) -> np.ndarray | None:
    """Return log2 F0 (100,) from the first voiced frame to the last, interpolated linearly where unvoiced."""
    require_pitch()
    import parselmouth

    if len(clip) < _MIN_SECONDS_FOR_PITCH * SAMPLING_RATE:
        return None
    pitch = parselmouth.Sound(clip.astype(np.float64), SAMPLING_RATE).to_pitch(time_step=0.01)
    hertz = pitch.selected_array["frequency"]
    voiced = np.flatnonzero(hertz > 0)
    if len(voiced) < _MIN_VOICED_FRAMES:
        return None
    return np.interp(np.linspace(voiced[0], voiced[-1], _CONTOUR_POINTS), voiced, np.log2(hertz[voiced]))
