# SPDX-License-Identifier: Apache-2.0
"""Which translations are kept: the paper's two bounds, and quality gates that it does not have."""

from collections.abc import Mapping

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from mser_llm.m5ser.build_config import BuildConfig
from mser_llm.m5ser.clip import Clip, clip_of
from mser_llm.m5ser.quality import clipping, duration_ratio, f0_correlation, silence


_BYTES_A_SAMPLE = 2
_KILOBYTE = 1000


class LengthFilter(PipelineStep):
    """The paper's filter (arXiv 2503.21806, III-B, Data Filtering), on what was generated: source rows pass.

    Size is that of the clip as 16-bit PCM at 16 kHz without a header, so that no container decides.

    Args:
        min_seconds: the least duration.
        min_kilobytes: by source corpus the least size in units of 1000 bytes; `default` for every other corpus.
    """

    name = "Duration and size"
    type = "M5SER"

    def __init__(self, min_seconds: float, min_kilobytes: Mapping[str, float]):
        super().__init__()
        self.min_seconds, self.min_kilobytes = min_seconds, dict(min_kilobytes)

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Every document; what falls under a bound is rejected."""
        assert data is not None
        for document in data:
            clip = clip_of(document)
            if clip.speech is not None and clip.translator is not None:
                self.judge(clip)
            yield document

    def judge(self, clip: Clip) -> None:
        """Reject a translation that is too short or too small."""
        assert clip.speech is not None
        least = self.min_kilobytes.get(clip.row["corpus"], self.min_kilobytes["default"])
        kilobytes = len(clip.speech) * _BYTES_A_SAMPLE / _KILOBYTE
        if clip.seconds < self.min_seconds:
            clip.reject("filter", f"shorter than {self.min_seconds:g} s", clip.seconds)
        elif kilobytes < least:
            clip.reject("filter", f"smaller than {least:g} KB", kilobytes)


class QualityGates(PipelineStep):
    """Gates that are closed only where a bound is given; see [`mser_llm.m5ser.quality`] for what is measured.

    Args:
        config: the build's.
    """

    name = "Quality gates"
    type = "M5SER"

    def __init__(self, config: BuildConfig):
        super().__init__()
        self.config = config

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Every document; a translation that a gate stops is rejected."""
        assert data is not None
        for document in data:
            clip = clip_of(document)
            if clip.speech is not None and clip.translator is not None:
                self.judge(clip)
            yield document

    def judge(self, clip: Clip) -> None:
        """Reject a translation at the first gate that stops it."""
        assert clip.speech is not None and clip.source is not None
        bounds = self.config
        if bounds.max_clipping is not None:
            value = clipping(clip.speech)
            if value > bounds.max_clipping:
                return clip.reject("quality", f"clipping above {bounds.max_clipping:g}", value)
        if bounds.max_silence is not None:
            value = silence(clip.speech)
            if value > bounds.max_silence:
                return clip.reject("quality", f"silence above {bounds.max_silence:g}", value)
        if bounds.duration_ratio is not None:
            least, most = bounds.duration_ratio
            value = duration_ratio(clip.speech, clip.source)
            if not least <= value <= most:
                return clip.reject("quality", f"duration ratio outside {least:g} to {most:g}", value)
        if bounds.min_f0_correlation is not None:
            correlation = f0_correlation(clip.speech, clip.source)
            if correlation is None:
                return clip.reject("quality", "no voice to compare the F0 contour of")
            if correlation < bounds.min_f0_correlation:
                return clip.reject("quality", f"F0 correlation below {bounds.min_f0_correlation:g}", correlation)
        return None
