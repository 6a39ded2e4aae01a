# SPDX-License-Identifier: Apache-2.0
"""Inference Endpoints: sound in, a list of `{label, score}` out.

Lies in the repository of a model, beside the code that the model brings along, and needs nothing else of the project.
The request is the sound itself (`Content-Type: audio/...`) or JSON, `{"inputs": BASE64, "parameters": {...}}`.
Whatever is wrong with a request raises `BadRequest` with one line, which the server answers with status 400. A path or
an address in a request is never opened: only the bytes that were sent are read, and never more sound than the bounds.
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
"""Of one channel: a file may claim a rate at which ten minutes are gigabytes."""
MAX_CHANNELS = 8
MAX_WORDS, MAX_WORD_LETTERS = 64, 64
MAX_CANDIDATE_TOKENS = 512
"""Of all candidate labels together: a letter may be four tokens."""
_BLOCK = 1 << 16


class BadRequest(ValueError):
    """A request that cannot be answered; the message says what is wrong and what to send."""

    status = 400


class EndpointHandler:
    """Answers requests with the model of a folder.

    Args:
        path: of the repository's files.
    """

    def __init__(self, path: str = "") -> None:
        self.pipeline = pipeline("audio-classification", model=path or ".", trust_remote_code=True)
        self.pipeline.max_candidate_tokens = MAX_CANDIDATE_TOKENS
        self.pipeline.max_seconds = MAX_SECONDS

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """
        Args:
            data: `inputs`, the bytes of an audio file or their base64; `parameters`, all of them optional:
                `candidate_labels` (the words that compete), `top_k` (how many are answered), `timeline` (true for
                an answer to each stretch of the recording), `allow_unlearned_labels` (true accepts labels that a
                language model trained from scratch never learned, and marks them `"unlearned": true`).

        Returns:
            `{"label", "score"}`, the likeliest first; of a timeline `{"start", "end", "label", "score", "scores"}`, in
            seconds and in order. Where the sound ends at 4 kHz or below, each has that frequency as `bandwidth_hz`.

        Raises:
            BadRequest: the request, the sound or a parameter is not as it should be.
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
    """What was sent, decoded from base64 where it came as text."""
    if isinstance(inputs, str):
        # Four letters of base64 are three bytes; line breaks may be among them.
        if len(inputs) > MAX_BYTES * 3 // 2:
            raise BadRequest(f"inputs are longer than {MAX_BYTES >> 20} MiB; send a shorter recording, or FLAC")
        text = inputs.partition(",")[2] if inputs.startswith("data:") else inputs
        try:
            inputs = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest(
                "inputs are not base64; send the sound itself, for paths and addresses are not opened"
            ) from None
    if not isinstance(inputs, (bytes, bytearray, memoryview)):
        raise BadRequest(f"inputs are {type(inputs).__name__}; send the bytes of an audio file, or their base64")
    sound = bytes(inputs)
    if not sound:
        raise BadRequest("inputs are empty; send the bytes of an audio file, or their base64")
    if len(sound) > MAX_BYTES:
        raise BadRequest(f"inputs are longer than {MAX_BYTES >> 20} MiB; send a shorter recording, or FLAC")
    return sound


def _check_sound(sound: bytes) -> None:
    """Counts the samples that are really there, block by block: kilobytes may hold days of silence."""
    try:
        with soundfile.SoundFile(io.BytesIO(sound)) as file:
            if file.channels > MAX_CHANNELS:
                raise BadRequest(f"the sound has {file.channels} channels; send at most {MAX_CHANNELS}")
            longest = min(MAX_SECONDS * file.samplerate, MAX_SAMPLES)
            count = 0
            while read := len(file.read(_BLOCK, "float32", always_2d=True)):
                count += read
                if count > longest:
                    raise BadRequest(
                        f"the sound is longer than {longest / file.samplerate:g} s, at {file.samplerate} Hz; "
                        "send a shorter one"
                    )
    except soundfile.LibsndfileError as error:
        reason = str(error.error_string).strip().rstrip(".")
        raise BadRequest(
            f"inputs are not audio that can be read ({reason}); send WAV, FLAC, OGG, Opus or MP3"
        ) from None


def _parameters(given: Any) -> dict[str, Any]:
    """The parameters as the pipeline takes them."""
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise BadRequest(f"parameters are {type(given).__name__}; send a mapping of names to values")
    switches = ("timeline", "allow_unlearned_labels")
    unknown = sorted(map(str, set(given) - {"candidate_labels", "top_k", *switches}))
    if unknown:
        raise BadRequest(
            f"there is no parameter {unknown[0][:64]!r}; there are candidate_labels, top_k, {' and '.join(switches)}"
        )
    top_k, words = given.get("top_k"), given.get("candidate_labels")
    parameters: dict[str, Any] = {}
    for name in switches:
        parameters[name] = given.get(name, False)
        if not isinstance(parameters[name], bool):
            raise BadRequest(f"{name} is {str(given[name])[:64]!r}; send true or false")
    if top_k is not None:
        if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
            raise BadRequest(f"top_k is {str(top_k)[:64]!r}; send a whole number from 1 on")
        parameters["top_k"] = top_k
    if words is not None:
        parameters["candidate_labels"] = _words(words)
    return parameters


def _words(words: Any) -> list[str]:
    if isinstance(words, str) and len(words) <= MAX_WORDS * MAX_WORD_LETTERS:
        words = words.split(",")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadRequest('candidate_labels are not a list of words; send for example ["happy", "sad"]')
    words = [word.strip() for word in words]
    if not 2 <= len(words) <= MAX_WORDS or len(set(words)) < len(words):
        raise BadRequest(f"candidate_labels are {len(words)} words; send 2 to {MAX_WORDS}, each of them once")
    if not all(word.isprintable() and 1 <= len(word) <= MAX_WORD_LETTERS for word in words):
        raise BadRequest(
            f"a candidate label is empty, too long or unprintable; the most is {MAX_WORD_LETTERS} letters"
        )
    return words
