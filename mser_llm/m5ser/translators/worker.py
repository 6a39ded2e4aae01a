# SPDX-License-Identifier: Apache-2.0
"""The child behind [`mser_llm.m5ser.translators.process.TranslatorProcess`]: one translator, batch after batch."""

from typing import Any

import numpy as np

from mser_llm.data.translator import LanguageError, SourceClip, Translation, Translator, build_translator
from mser_llm.m5ser.translators.frames import Connection, die_with_parent


_CLIP_COLUMNS = ("id", "language", "transcript", "speaker", "gender", "source_corpus")


def describe(clip: SourceClip) -> dict[str, Any]:
    """A clip without its samples, as JSON."""
    return {column: getattr(clip, column) for column in _CLIP_COLUMNS}


def serve(parent: int) -> None:
    """Build the translator that the first request names, then translate what the others bring.

    An exception other than a clip's own is answered and ends the process: after it nothing is known of the state of a
    device or a library.
    """
    die_with_parent(parent)
    connection = Connection()
    request, _ = connection.receive()
    try:
        translator = build_translator(request["name"], request["options"], request["device"])
        greeting = {
            "translator": translator.name,
            "sampling_rate": translator.sampling_rate,
            "license": translator.license,
            "non_commercial": translator.non_commercial,
            "redistribution": translator.redistribution,
            "fingerprint": translator.fingerprint(),
        }
    except Exception as error:
        users = type(error) is ValueError
        connection.send({"failure": str(error) if users else f"{type(error).__name__}: {error}", "users": users})
        return
    connection.send(greeting)
    try:
        while True:
            request, arrays = connection.receive()
            try:
                connection.send(*_translate(translator, request, arrays))
            except LanguageError as error:
                connection.send({"language_error": str(error)})
            except Exception as error:
                connection.send({"failure": f"{type(error).__name__}: {error}"})
                return
    finally:
        translator.close()


def _translate(
    translator: Translator, request: dict[str, Any], arrays: list[np.ndarray]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    clips = [SourceClip(waveform=array, **clip) for clip, array in zip(request["clips"], arrays)]
    answers = translator.translate(clips, request["language"])
    if len(answers) != len(clips):
        raise RuntimeError(f"the translator gave {len(answers)} answers to {len(clips)} clips")
    described: list[dict[str, Any]] = []
    waveforms: list[np.ndarray] = []
    for answer in answers:
        if isinstance(answer, Translation):
            described.append(
                {
                    "sampling_rate": answer.sampling_rate,
                    "transcript": answer.transcript,
                    "metadata": answer.metadata,
                    "waveform": len(waveforms),
                }
            )
            waveforms.append(np.asarray(answer.waveform))
        else:
            described.append({"error": str(answer)})
    return {"answers": described}, waveforms
