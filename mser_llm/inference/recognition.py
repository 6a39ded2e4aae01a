# SPDX-License-Identifier: Apache-2.0
"""The recognition loop: sources in, words with probabilities out, in the order of the sources."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import islice
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch

from modeling_mser.labels_mser import check_labels
from modeling_mser.recognition_mser import majority, mean_over_time, word_probabilities, written_texts
from mser_llm.inference.compilation import check_compiler, compiled, to_bucket
from mser_llm.inference.prefetch import Clip, read_windows, windows_of
from processing_mser.audio_mser import SAMPLING_RATE
from processing_mser.bandwidth_mser import band_powers, narrow_bandwidth
from processing_mser.emotions_mser import UNPARSED


# Windows of clips are sorted by length within so many batches, which keeps most of the padding out.
BATCHES_PER_WINDOW = 4


@dataclass(frozen=True)
class Recognition:
    """The answer for one source.

    Attributes:
        source: the source as it was given.
        label: one of the candidate words, or `UNPARSED`; None where the clip could not be read.
        scores: probability of each candidate word; None in generate mode and for errors.
        error: one line saying what is wrong with the clip and what cures it; None for an answer.
        text: what the model wrote, in generate mode; the windows of a long clip are joined by " | ".
        seconds: length of the clip, 0 where it could not be read.
        unlearned_labels: candidate words that were allowed though the model never learned them.
        bandwidth_hz: the frequency above which the clip has no sound, of a narrow-band clip (4 kHz or less), on which
            answers are less reliable; None for any other.
    """

    source: Any
    label: str | None
    scores: dict[str, float] | None = None
    error: str | None = None
    text: str | None = None
    seconds: float = 0.0
    unlearned_labels: tuple[str, ...] = ()
    bandwidth_hz: float | None = None


def recognise(
    model: Any,
    processor: Any,
    sources: Iterable[Any],
    words: Sequence[str],
    *,
    batch_size: int = 16,
    decode: Literal["score", "generate"] = "score",
    length_normalize: bool = False,
    prior_correction: bool = False,
    compile: bool = False,
    allow_unlearned_labels: bool = False,
) -> Iterator[Recognition]:
    """Names the emotion in each source, on the model's device, in the order of the sources.

    Sources stream: at most `2 * BATCHES_PER_WINDOW * batch_size` of them are taken ahead of what was yielded, so that
    memory does not grow with their number. Within a window clips of like length share a batch. Audio over 30 s is cut
    into equal windows whose probabilities (in generate mode: votes) are averaged, weighted by duration. A clip that
    cannot be read gives an answer with `error` set and does not stop the others.

    Args:
        model: `MSERForEmotionGeneration`; it is put into evaluation mode for the duration.
        processor: the model's `MSERProcessor`.
        sources: any form that `load_audio` reads.
        words: the candidate words, at least one.
        batch_size: cut windows per forward pass.
        decode: "score" compares the log-probabilities of the words; "generate" lets the model write freely and reads
            one word out of the text, which may fail (`UNPARSED`).
        length_normalize, prior_correction: as in `score_emotions`; without effect on "generate".
        compile: run the model through `torch.compile`, with batches brought to the lengths of `BUCKET_SECONDS` and to
            `batch_size` rows; for `decode="score"`.
        allow_unlearned_labels: accept words that a language model trained from scratch never learned, and name them in
            the answers.

    Raises:
        UnlearnedLabelError: a word was never learned and is not allowed.
        ValueError: no words, a batch size below 1, an unknown decode mode, or one that cannot be compiled.
        CompilationError: torch finds no compiler, or cannot compile the model.
    """
    words = tuple(words)
    if not words:
        raise ValueError("No candidate words; pass a label set such as label_set('seven').words.")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    if decode not in ("score", "generate"):
        raise ValueError(f"decode is {decode!r}; choose 'score' or 'generate'.")
    if compile and decode == "generate":
        raise ValueError("generation changes its shape with every token; compile is for decode 'score'")
    unlearned = check_labels(model.config, words, allow_unlearned_labels)
    if compile:
        check_compiler(model.device.type)
    scoring = {"length_normalize": length_normalize, "prior_correction": prior_correction}
    answers = _recognise(model, processor, sources, words, batch_size, decode, scoring, compile)
    return (replace(answer, unlearned_labels=unlearned) for answer in answers) if unlearned else answers


def _recognise(
    model: Any,
    processor: Any,
    sources: Iterable[Any],
    words: tuple[str, ...],
    batch_size: int,
    decode: str,
    scoring: dict[str, bool],
    compile: bool,
) -> Iterator[Recognition]:
    was_training = model.training
    model.eval()
    candidates = processor.candidate_ids(words) if decode == "score" else None
    # A classifier hears no more of a clip than its positions are cropped to.
    most_seconds = getattr(processor, "crop_seconds", None) or processor.max_seconds

    def answered(pieces: list[np.ndarray]) -> list[Any]:
        by_length = sorted(range(len(pieces)), key=lambda position: len(pieces[position]))
        outputs: list[Any] = [None] * len(pieces)
        for start in range(0, len(pieces), batch_size):
            batch = by_length[start : start + batch_size]
            inputs = _inputs(model, processor, [pieces[position] for position in batch])
            if compile:
                inputs = to_bucket(inputs, batch_size, most_seconds)
            rows: Any
            if candidates is not None:
                rows = word_probabilities(model, inputs, candidates, **scoring)[: len(batch)].numpy()
            else:
                rows = processor.batch_decode(written_texts(model, inputs)[0])
            for position, output in zip(batch, rows, strict=True):
                outputs[position] = output
        return outputs

    try:
        with ExitStack() as stack:
            # Closed with this iterator, so that no reader is left behind when its consumer stops early.
            windows = stack.enter_context(closing(read_windows(sources, BATCHES_PER_WINDOW * batch_size)))
            if compile:
                stack.enter_context(compiled(model))
            for window in windows:
                answers: dict[int, list[tuple[float, Any]]] = defaultdict(list)
                powers: dict[int, np.ndarray] = {}
                failures = {index: clip.error for index, clip in enumerate(window) if clip.error is not None}
                pieces = windows_of(window, failures)
                # A part at a time: the windows of a long recording do not fit into memory.
                while part := list(islice(pieces, BATCHES_PER_WINDOW * batch_size)):
                    outputs = answered([piece for _, piece in part])
                    for (index, piece), output in zip(part, outputs, strict=True):
                        answers[index].append((len(piece) / SAMPLING_RATE, output))
                        powers[index] = powers.get(index, 0) + band_powers(piece)
                for index, clip in enumerate(window):
                    if index in failures:
                        yield Recognition(clip.source, None, error=failures[index])
                        continue
                    bandwidth = narrow_bandwidth(powers[index], SAMPLING_RATE)
                    if decode == "score":
                        answer = _scored(clip, answers[index], words)
                    else:
                        answer = _generated(clip, answers[index], words, processor)
                    yield replace(answer, bandwidth_hz=bandwidth)
    finally:
        model.train(was_training)


def _inputs(model: Any, processor: Any, waveforms: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """The processor's tensors for waveforms that were checked before: one window of a good clip may be all silence."""
    inputs = processor.extract_features(waveforms) | processor.encode_text(len(waveforms))
    return {name: tensor.to(model.device) for name, tensor in inputs.items()}


def _name(source: Any) -> str:
    path = source.get("path") if isinstance(source, Mapping) else source
    return str(path) if isinstance(path, (str, PathLike)) else f"<{type(source).__name__}>"


def _scored(clip: Clip, answers: list[tuple[float, np.ndarray]], words: tuple[str, ...]) -> Recognition:
    mean = mean_over_time([seconds for seconds, _ in answers], np.stack([row for _, row in answers]))
    if not np.isfinite(mean).all():
        error = f"{_name(clip.source)}: the model's scores are not numbers (NaN); load it in float32"
        return Recognition(clip.source, None, error=error, seconds=clip.seconds)
    scores = {word: float(probability) for word, probability in zip(words, mean, strict=True)}
    return Recognition(clip.source, words[int(mean.argmax())], scores=scores, seconds=clip.seconds)


def _generated(clip: Clip, answers: list[tuple[float, str]], words: tuple[str, ...], processor: Any) -> Recognition:
    """The word that was read out of most of the clip's time; unparsed only where no window gave a word."""
    texts = [text for _, text in answers]
    seconds = [duration for duration, _ in answers]
    label = majority(seconds, processor.parse_emotions(texts, words), UNPARSED)
    return Recognition(clip.source, label, text=" | ".join(texts), seconds=clip.seconds)
