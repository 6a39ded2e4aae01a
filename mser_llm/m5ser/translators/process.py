# SPDX-License-Identifier: Apache-2.0
"""A translator in a process of its own, so that its death, its hanging or its nonsense costs the guilty clip alone."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mser_llm.data.translator import (
    LanguageError,
    SourceClip,
    Translation,
    TranslationError,
    Translator,
    TranslatorStartError,
)
from mser_llm.m5ser.translators.worker import describe
from mser_llm.m5ser.translators.worker_process import WorkerError, WorkerProcess


SAMPLING_RATES = (8_000, 192_000)
SILENT_PEAK = 1e-4
"""-80 dB of full scale: below the last bits of 16."""


class TranslatorProcess(Translator):
    """Runs a translator in a child process that stays up between batches and dies with its parent.

    A child that dies, raises or hangs is replaced, and the new one gets each clip of its batch alone: what fails alone
    becomes a [`TranslationError`], and the others are translated. What comes back is checked: empty clips, silence,
    samples that are not numbers and a wrong sampling rate are errors too.

    On Linux the kernel ends the child with the thread that started it: build it in a thread that lives as long.

    Args:
        name: as for [`build_translator`].
        options: likewise.
        device: likewise.
        seconds_per_batch: longest time for a batch, and for a clip alone.
        seconds_to_start: longest time to load.

    Raises:
        TranslatorStartError: the translator cannot start. Later too, when a replacement cannot.
        ValueError: no such translator or option.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        device: str = "cpu",
        *,
        seconds_per_batch: float = 300.0,
        seconds_to_start: float = 900.0,
    ) -> None:
        self._request = {"name": name, "options": dict(options or {}), "device": device}
        self._seconds_per_batch = seconds_per_batch
        self._seconds_to_start = seconds_to_start
        self._worker: WorkerProcess | None = None
        self._fingerprint: dict[str, Any] = {}
        self.name = name
        self._start()

    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        if not clips:
            return []
        try:
            return self._attempt(clips, language)
        except WorkerError:
            pass
        answers: list[Translation | TranslationError] = []
        for clip in clips:
            try:
                answers += self._attempt([clip], language)
            except WorkerError as error:
                answers.append(TranslationError(f"the translator {error} on this clip"))
        return answers

    def fingerprint(self) -> dict[str, Any]:
        return self._fingerprint

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _start(self) -> WorkerProcess:
        # The parent's import paths, whatever put them there, without an environment variable that would reach further.
        boot = f"import sys; sys.path[:] = {sys.path!r}; from {__package__}.worker import serve; serve({os.getpid()})"
        worker = WorkerProcess([sys.executable, "-c", boot])
        try:
            greeting, _ = worker.ask(self._request, seconds=self._seconds_to_start)
        except WorkerError as error:
            raise TranslatorStartError(
                f"the translator {self.name!r} {error} while it was starting; its own messages stand above"
            ) from None
        if "failure" in greeting:
            worker.close()
            if greeting["users"]:
                raise ValueError(greeting["failure"])
            raise TranslatorStartError(f"the translator {self.name!r} did not start: {greeting['failure']}")
        self.name = greeting["translator"] or self.name
        self.sampling_rate = greeting["sampling_rate"]
        self.license = greeting["license"]
        self.non_commercial = greeting["non_commercial"]
        self.redistribution = greeting["redistribution"]
        self._fingerprint = greeting["fingerprint"]
        self._worker = worker
        return worker

    def _attempt(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        """Translate by the child, or by a new one where there is none.

        Raises:
            WorkerError: the child died, hung or raised, and is gone.
        """
        worker = self._worker or self._start()
        request = {"clips": [describe(clip) for clip in clips], "language": language}
        try:
            answer, waveforms = worker.ask(request, [clip.waveform for clip in clips], seconds=self._seconds_per_batch)
        except WorkerError:
            self._worker = None
            raise
        if "language_error" in answer:
            raise LanguageError(answer["language_error"])
        if "failure" in answer:
            self.close()
            raise WorkerError(f"failed ({answer['failure']})")
        return [self._checked(one, waveforms) for one in answer["answers"]]

    def _checked(self, answer: dict[str, Any], waveforms: list[np.ndarray]) -> Translation | TranslationError:
        if "error" in answer:
            return TranslationError(answer["error"])
        waveform, rate = waveforms[answer["waveform"]], answer["sampling_rate"]
        fault = _fault(waveform, rate, self.sampling_rate)
        if fault:
            return TranslationError(f"the translation {fault}")
        return Translation(waveform, rate, answer["transcript"], answer["metadata"])


def _fault(waveform: np.ndarray, sampling_rate: Any, declared: int | None) -> str | None:
    """What is wrong with a translation, or None."""
    lowest, highest = SAMPLING_RATES
    if not isinstance(sampling_rate, int) or not lowest <= sampling_rate <= highest:
        return f"has a sampling rate of {sampling_rate} Hz, not {lowest} to {highest}"
    if declared is not None and sampling_rate != declared:
        return f"has a sampling rate of {sampling_rate} Hz, and the translator declares {declared}"
    if waveform.ndim != 1:
        return f"has the shape {tuple(waveform.shape)}, not (samples,)"
    if not len(waveform):
        return "is empty"
    wrong = int(np.count_nonzero(~np.isfinite(waveform)))
    if wrong:
        return f"has {wrong} of {len(waveform)} samples that are no finite numbers"
    peak = float(np.abs(waveform).max())
    if peak < SILENT_PEAK:
        return f"is silent (peak {peak:g})"
    return None
