# SPDX-License-Identifier: Apache-2.0
"""Handler for Inference Endpoints: takes audio and returns a list of `{label, score}`.

It is part of a model's repository, next to the model's code, and needs no other code of the project. A request is the
audio itself (`Content-Type: audio/...`) or JSON, `{"inputs": BASE64, "parameters": {...}}`.

An invalid request raises `BadRequest` with a one-line message, and the server returns status 400. The handler never
opens a path or URL in a request. It reads only the bytes of the request, up to the limits below.
"""

import base64
import binascii
import io
from typing import Any

import soundfile
from transformers import pipeline


MAX_BYTES = 32 << 20
MAX_SECONDS = 600.0
MAX_SAMPLES = 600 * 48_000
"""Per channel: at a very high sampling rate, ten minutes would take gigabytes."""
MAX_CHANNELS = 8
MAX_WORDS, MAX_WORD_LETTERS = 64, 64
MAX_CANDIDATE_TOKENS = 512
"""Of all candidate labels together: one letter may be four tokens."""
_BLOCK = 1 << 16


class BadRequest(ValueError):
    """An invalid request; the message names the problem and what to send instead."""

    status = 400


class EndpointHandler:
    """Recognize emotions with the model in a folder.

    Args:
        path: folder with the files of the repository.
    """

    def __init__(self, path: str = "") -> None:
        self.pipeline = pipeline("audio-classification", model=path or ".", trust_remote_code=True)
        self.pipeline.max_candidate_tokens = MAX_CANDIDATE_TOKENS
        self.pipeline.max_seconds = MAX_SECONDS

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """
        Handle one request.

        Args:
            data: `inputs`, the bytes of an audio file or their base64; `parameters`, all optional:
                `candidate_labels`, `top_k` (number of labels to return), `timeline` (true returns the label of each
                part of the recording), `allow_unlearned_labels` (true accepts labels that a language model trained
                from scratch never learned, and marks them `"unlearned": true`).

        Returns:
            `{"label", "score"}`, the most likely first. With a timeline `{"start", "end", "label", "score", "scores"}`
            in chronological order, in seconds. For a narrow-band recording (4 kHz or less), each entry has its
            bandwidth as `bandwidth_hz`.

        Raises:
            BadRequest: the request, the audio or a parameter is invalid.
        """
        if not isinstance(data, dict) or "inputs" not in data:
            raise BadRequest('the request has no "inputs"; send the bytes of an audio file, or their base64 in JSON')
        parameters = _parameters(data.get("parameters"))
        sound = _bytes(data["inputs"])
        _check_sound(sound)
        try:
            return self.pipeline(sound, **parameters)
        except ValueError as error:
            raise BadRequest(" ".join(str(error).split())) from error


def _bytes(inputs: Any) -> bytes:
    """Return the audio file of a request; decode it if it is base64."""
    if isinstance(inputs, str):
        # Four letters of base64 are three bytes; there may also be line breaks.
        if len(inputs) > MAX_BYTES * 3 // 2:
            raise BadRequest(f"inputs are longer than {MAX_BYTES >> 20} MiB; send a shorter recording, or FLAC")
        text = inputs.partition(",")[2] if inputs.startswith("data:") else inputs
        try:
            inputs = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest("inputs are not base64; send the audio itself (paths and URLs are not opened)") from None
    if not isinstance(inputs, (bytes, bytearray, memoryview)):
        raise BadRequest(f"inputs are {type(inputs).__name__}; send the bytes of an audio file, or their base64")
    sound = bytes(inputs)
    if not sound:
        raise BadRequest("inputs are empty; send the bytes of an audio file, or their base64")
    if len(sound) > MAX_BYTES:
        raise BadRequest(f"inputs are longer than {MAX_BYTES >> 20} MiB; send a shorter recording, or FLAC")
    return sound


def _check_sound(sound: bytes) -> None:
    """Decode block by block to check the length: a few kilobytes may contain days of silence."""
    try:
        with soundfile.SoundFile(io.BytesIO(sound)) as file:
            if file.channels > MAX_CHANNELS:
                raise BadRequest(f"the audio has {file.channels} channels; send at most {MAX_CHANNELS}")
            longest = min(MAX_SECONDS * file.samplerate, MAX_SAMPLES)
            count = 0
            while read := len(file.read(_BLOCK, "float32", always_2d=True)):
                count += read
                if count > longest:
                    raise BadRequest(
                        f"the audio is longer than {longest / file.samplerate:g} s at {file.samplerate} Hz; "
                        "send a shorter recording"
                    )
    except soundfile.LibsndfileError as error:
        reason = str(error.error_string).strip().rstrip(".")
        raise BadRequest(f"inputs are not readable audio ({reason}); send WAV, FLAC, OGG, Opus or MP3") from None


def _parameters(given: Any) -> dict[str, Any]:
    """Check the parameters and return the arguments of the pipeline."""
    if not isinstance(given, dict | None):
        raise BadRequest(f"parameters are {type(given).__name__}; send a JSON object")
    switches = ("timeline", "allow_unlearned_labels")
    parameters = dict.fromkeys(switches, False) | {name: one for name, one in (given or {}).items() if one is not None}
    unknown = sorted(map(str, set(parameters) - {"candidate_labels", "top_k", *switches}))
    if unknown:
        raise BadRequest(
            f"unknown parameter {unknown[0][:64]!r}; send candidate_labels, top_k, {' or '.join(switches)}"
        )
    for name in switches:
        if not isinstance(parameters[name], bool):
            raise BadRequest(f"{name} is {str(parameters[name])[:64]!r}; send true or false")
    top_k = parameters.get("top_k", 1)
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise BadRequest(f"top_k is {str(top_k)[:64]!r}; send a positive integer")
    if "candidate_labels" in parameters:
        parameters["candidate_labels"] = _words(parameters["candidate_labels"])
    return parameters


def _words(words: Any) -> list[str]:
    if isinstance(words, str) and len(words) <= MAX_WORDS * MAX_WORD_LETTERS:
        words = words.split(",")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadRequest('candidate_labels are not a list of words; send e.g. ["happy", "sad"]')
    words = [word.strip() for word in words]
    if not 2 <= len(words) <= MAX_WORDS or len(set(words)) < len(words):
        raise BadRequest(f"candidate_labels are {len(words)} words; send 2 to {MAX_WORDS} different words")
    if not all(word.isprintable() and 1 <= len(word) <= MAX_WORD_LETTERS for word in words):
        raise BadRequest(
            f"a candidate label is empty, unprintable or longer than {MAX_WORD_LETTERS} letters; send another"
        )
    return words
