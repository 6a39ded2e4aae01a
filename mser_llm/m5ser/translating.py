# SPDX-License-Identifier: Apache-2.0
"""Translate clips in batches and resample the translations to 16 kHz."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import soxr
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from mser_llm.data.translator import (
    LanguageError,
    SourceClip,
    Translation,
    TranslationError,
    Translator,
    TranslatorStartError,
)
from mser_llm.m5ser.build_config import BuildConfig
from mser_llm.m5ser.clip import Clip, audible, clip_of
from mser_llm.m5ser.shards import Shard
from mser_llm.m5ser.translators.process import TranslatorProcess
from processing_mser.audio_mser import SAMPLING_RATE, AudioError, load_audio


class Translate(PipelineStep):
    """Translate each clip into the shard's language; in the source language clips pass unchanged.

    The translator starts with the first batch, in its own process, and stays up for the following ranks.
    """

    name = "Translate"
    type = "M5SER"

    def __init__(self, shards: Sequence[Shard], config: BuildConfig, device: str):
        super().__init__()
        self.shards, self.config, self.device = shards, config, device
        self._translator: Translator | None = None

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield every document in order; clips that cannot be translated are rejected."""
        assert data is not None
        language = self.shards[rank].language
        for batch in batches(data, self.config.batch_size):
            clips = [clip for clip in map(clip_of, batch) if clip.rejection is None]
            if language == self.config.source_language:
                for clip in clips:
                    clip.speech, clip.transcript = clip.source, clip.row["transcript"]
            elif clips:
                self.translate(clips, language)
            yield from batch

    def translate(self, clips: Sequence[Clip], language: str) -> None:
        """Set the translation of each clip, or reject the clip."""
        try:
            if self._translator is None:
                self._translator = start_translator(self.config, self.device)
            answers = self._translator.translate([source_clip(clip, self.config) for clip in clips], language)
        except (LanguageError, TranslatorStartError):
            raise
        except Exception as error:
            # A failing translator costs its batch only.
            answers = [TranslationError(f"the translator failed: {type(error).__name__}: {error}")] * len(clips)
        for clip, answer in zip(clips, answers, strict=True):
            if isinstance(answer, Translation):
                clip.speech = to_corpus_rate(answer)
                clip.transcript = answer.transcript
                clip.translator = self.config.translator
                if not audible(clip.speech):
                    clip.reject("translate", "the translation is silent in 16 bits")
            else:
                clip.reject("translate", " ".join(str(answer).split()))

    def close(self) -> None:
        """End the translator's process."""
        if self._translator is not None:
            self._translator.close()
            self._translator = None


def source_clip(clip: Clip, config: BuildConfig) -> SourceClip:
    """Return the part of a clip that the translator may see."""
    assert clip.source is not None
    row = clip.row
    return SourceClip(
        id=row["id"],
        waveform=clip.source,
        language=row["language"] or config.source_language,
        transcript=row["transcript"],
        speaker=row["speaker"],
        gender=row["gender"],
        source_corpus=row["corpus"],
    )


def start_translator(config: BuildConfig, device: str) -> Translator:
    """Start the translator of a build in its own process."""
    return TranslatorProcess(
        config.translator, config.translator_options, device=device, seconds_per_batch=config.seconds_per_batch
    )


def check_languages(translator: Translator, config: BuildConfig, rows: Iterable[Mapping[str, Any]]) -> None:
    """Translate one source into every language, so that an unsupported one stops the build with a LanguageError."""
    for row in rows:
        clip = Clip(dict(row), config.source_language)
        try:
            clip.source = load_audio(row["audio"]["bytes"] or row["audio"]["path"])
        except AudioError:
            continue
        for language in config.languages:
            translator.translate([source_clip(clip, config)], language)
        return


def to_corpus_rate(translation: Translation) -> np.ndarray:
    """Resample a translation to float32 (samples,) at 16 kHz."""
    waveform = np.asarray(translation.waveform, dtype=np.float32)
    if translation.sampling_rate == SAMPLING_RATE:
        return waveform
    return soxr.resample(waveform, translation.sampling_rate, SAMPLING_RATE).astype(np.float32)


def batches(documents: Iterator[Document], size: int) -> Iterator[list[Document]]:
    """Group documents in order into lists of `size` clips to translate, plus any rejected ones between them."""
    batch: list[Document] = []
    pending = 0
    for document in documents:
        batch.append(document)
        pending += clip_of(document).rejection is None
        if pending == size:
            yield batch
            batch, pending = [], 0
    if batch:
        yield batch
