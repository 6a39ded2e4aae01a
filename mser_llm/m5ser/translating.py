# SPDX-License-Identifier: Apache-2.0
"""The step that translates: batches of clips to the translator, and what comes back to 16 kHz."""

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
    """Each clip in the shard's language; clips of the source language pass as they are.

    The translator starts with the first batch, in a process of its own, and stays for the ranks that follow.

    Args:
        shards: of all ranks.
        config: the build's.
        device: where the translator runs.
    """

    name = "Translate"
    type = "M5SER"

    def __init__(self, shards: Sequence[Shard], config: BuildConfig, device: str):
        super().__init__()
        self.shards, self.config, self.device = shards, config, device
        self._translator: Translator | None = None

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Every document in its order; what cannot be translated is rejected."""
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
        """Give each clip its translation, or reject it."""
        try:
            answers = self.translator().translate([source_clip(clip, self.config) for clip in clips], language)
        except (LanguageError, TranslatorStartError):
            raise
        except Exception as error:
            # A translator that breaks costs its batch and no other row.
            answers = [TranslationError(f"the translator broke: {type(error).__name__}: {error}")] * len(clips)
        for clip, answer in zip(clips, answers, strict=True):
            if isinstance(answer, Translation):
                clip.speech = to_corpus_rate(answer)
                clip.transcript = answer.transcript
                clip.translator = self.config.translator
                if not audible(clip.speech):
                    clip.reject("translate", "its translation is silent in 16 bits")
            else:
                clip.reject("translate", " ".join(str(answer).split()))

    def translator(self) -> Translator:
        """The translator, started if need be."""
        if self._translator is None:
            self._translator = start_translator(self.config, self.device)
        return self._translator

    def close(self) -> None:
        """End the translator's process."""
        if self._translator is not None:
            self._translator.close()
            self._translator = None


def source_clip(clip: Clip, config: BuildConfig) -> SourceClip:
    """What the translator may know of a clip."""
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
    """The build's translator in a process of its own.

    Raises:
        TranslatorStartError: it cannot start.
        ValueError: no such translator, or an option that it does not have.
    """
    return TranslatorProcess(
        config.translator, config.translator_options, device=device, seconds_per_batch=config.seconds_per_batch
    )


def check_languages(translator: Translator, config: BuildConfig, rows: Iterable[Mapping[str, Any]]) -> None:
    """Translate one source into every language, so that a missing one stops the build before it begins.

    Raises:
        LanguageError: the translator lacks one.
    """
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
    """float32 (samples,) at 16 kHz, whatever rate the translator speaks at."""
    waveform = np.asarray(translation.waveform, dtype=np.float32)
    if translation.sampling_rate == SAMPLING_RATE:
        return waveform
    return soxr.resample(waveform, translation.sampling_rate, SAMPLING_RATE).astype(np.float32)


def batches(documents: Iterator[Document], size: int) -> Iterator[list[Document]]:
    """Documents in order, in lists of `size` clips that are still to be translated; rejected ones ride along."""
    batch: list[Document] = []
    alive = 0
    for document in documents:
        batch.append(document)
        alive += clip_of(document).rejection is None
        if alive == size:
            yield batch
            batch, alive = [], 0
    if batch:
        yield batch
