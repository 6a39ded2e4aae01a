# SPDX-License-Identifier: Apache-2.0
"""Run a translator in a child process, so that a crash, a hang or invalid output costs one clip only."""

import atexit
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mser_llm.data.translator import (
    LanguageError,
    SourceClip,
    Translation,
    TranslationError,
    Translator,
    TranslatorStartError,
    build_translator,
)
from mser_llm.io.errors import InputError
from mser_llm.m5ser.translators.worker_process import WorkerError, WorkerProcess, serve


SAMPLING_RATES = (8_000, 192_000)
SILENT_PEAK = 1e-4
"""-80 dB of full scale."""
_ATTRIBUTES = ("name", "sampling_rate", "license", "non_commercial", "redistribution")


class TranslatorProcess(Translator):
    """Run a translator in a child process that stays up between batches and dies with its parent.

    A child that dies, raises or hangs is replaced. The new one gets each clip of the batch alone: a clip that fails
    alone becomes a [`TranslationError`], all others are translated. Output is validated: empty, silent or non-finite
    clips and wrong sampling rates are errors too.

    On Linux the kernel ends the child with the thread that started it, so start it in a thread that lives as long.

    Args:
        name, options, device: as for [`build_translator`].
        seconds_per_batch: time limit for a batch, and for a clip alone.
        seconds_to_start: time limit for loading.

    Raises:
        TranslatorStartError: the translator, or later its replacement, cannot start.
        ValueError: unknown translator or option.
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
        self._arguments = (name, dict(options or {}), device)
        self._seconds_per_batch = seconds_per_batch
        self._seconds_to_start = seconds_to_start
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
        self._worker.close()

    def _start(self) -> None:
        # The parent's import path, without an environment variable that grandchildren would inherit.
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve_translator; serve_translator()"
        self._worker = WorkerProcess([sys.executable, "-c", code])
        try:
            greeting = self._worker.ask(self._arguments, seconds=self._seconds_to_start)
        except WorkerError as error:
            raise TranslatorStartError(
                f"the translator {self.name!r} {error} during start-up; see its own messages above"
            ) from None
        if isinstance(greeting, ValueError):
            self._worker.close()
            raise greeting
        attributes, self._fingerprint = greeting
        for name, value in attributes.items():
            setattr(self, name, value)

    def _attempt(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        """Translate with the running child, or with a new one."""
        if self._worker.ended:
            self._start()
        answers = self._worker.ask((list(clips), language), seconds=self._seconds_per_batch)
        if isinstance(answers, LanguageError):
            raise answers
        for place, answer in enumerate(answers):
            if isinstance(answer, Translation):
                problem = _find_problem(answer.waveform, answer.sampling_rate, self.sampling_rate)
                if problem:
                    answers[place] = TranslationError(f"the translation {problem}")
        return answers


def _find_problem(waveform: np.ndarray, sampling_rate: Any, declared: int | None) -> str | None:
    """Return what is wrong with a translation, or None."""
    lowest, highest = SAMPLING_RATES
    if not isinstance(sampling_rate, (int, np.integer)) or not lowest <= sampling_rate <= highest:
        return f"has a sampling rate of {sampling_rate} Hz, not {lowest} to {highest}"
    if declared is not None and sampling_rate != declared:
        return f"has a sampling rate of {sampling_rate} Hz, and the translator declares {declared}"
    if waveform.ndim != 1:
        return f"has the shape {tuple(waveform.shape)}, not (samples,)"
    if not len(waveform):
        return "is empty"
    invalid = int(np.count_nonzero(~np.isfinite(waveform)))
    if invalid:
        return f"has {invalid} of {len(waveform)} samples that are not finite"
    peak = float(np.abs(waveform).max())
    if peak < SILENT_PEAK:
        return f"is silent (peak {peak:g})"
    return None


def serve_translator() -> None:
    """Run a translator in this process for a [`TranslatorProcess`]."""
    serve(_start_translator)


def _start_translator(arguments: tuple[str, dict[str, Any], str]) -> tuple[Any, Callable[[Any], Any]]:
    try:
        translator = build_translator(*arguments)
    except ValueError as error:
        # A wrong name or option is the user's to fix. Other kinds of ValueError are faults of the translator.
        if type(error) not in (ValueError, InputError):
            raise
        return error, lambda request: None
    atexit.register(translator.close)
    attributes = {name: getattr(translator, name) for name in _ATTRIBUTES if getattr(translator, name) != ""}
    # As JSON, because it becomes part of the build's identity: NumPy numbers turn into Python's, tuples into lists.
    fingerprint = json.loads(json.dumps(translator.fingerprint(), default=lambda number: number.item()))
    return (attributes, fingerprint), lambda request: _translate(translator, *request)


def _translate(
    translator: Translator, clips: Sequence[SourceClip], language: str
) -> list[Translation | TranslationError] | LanguageError:
    try:
        answers = translator.translate(clips, language)
    except LanguageError as error:
        return error
    if len(answers) != len(clips):
        raise RuntimeError(f"the translator gave {len(answers)} answers to {len(clips)} clips")
    return [
        replace(answer, waveform=np.ascontiguousarray(answer.waveform, dtype=np.float32))
        if isinstance(answer, Translation)
        else TranslationError(str(answer))
        for answer in answers
    ]
