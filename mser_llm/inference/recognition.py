# SPDX-License-Identifier: Apache-2.0
"""The recognition loop: clips in, labels with probabilities out, in the same order."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from modeling_mser.labels_mser import check_labels
from modeling_mser.recognition_mser import generate_texts, label_probabilities, majority, mean_over_time
from mser_llm.inference.clip_digests import clip_path
from mser_llm.inference.compilation import check_compiler, compiled, to_bucket
from mser_llm.inference.prefetch import LoadedClip, load_ahead, windows_of
from mser_llm.inference.scoring_options import ScoringOptions
from processing_mser.audio_mser import SAMPLING_RATE
from processing_mser.bandwidth_mser import band_powers, narrow_bandwidth
from processing_mser.emotions_mser import UNPARSED


# Clips are sorted by length within this many batches, which avoids most of the padding.
BATCHES_PER_CHUNK = 4


@dataclass(frozen=True)
class Recognition:
    """The prediction for one clip.

    Attributes:
        source: the clip as it was passed.
        label: one of the candidate labels, or `UNPARSED`; None if the clip cannot be read.
        scores: probability of each candidate label; None in generate mode and for errors.
        error: one line with what is wrong with the clip and how to fix it; None for a prediction.
        text: what the model wrote, in generate mode; the windows of a long clip are joined by " | ".
        seconds: length of the clip; 0 if it cannot be read.
        unlearned_labels: candidate labels that were allowed although the model never learned them.
        bandwidth_hz: the frequency above which a narrow-band clip (4 kHz or less) is silent, which makes predictions
            less reliable; None for any other clip.
    """

    source: Any
    label: str | None
    scores: dict[str, float] | None = None
    error: str | None = None
    text: str | None = None
    seconds: float = 0.0
    unlearned_labels: tuple[str, ...] = ()
    bandwidth_hz: float | None = None


def recognize(
    model: Any,
    processor: Any,
    sources: Iterable[Any],
    labels: Sequence[str],
    options: ScoringOptions = ScoringOptions(),
) -> Iterator[Recognition]:
    """Predict the emotion of each clip, on the model's device.

    The clips stream: at most `2 * BATCHES_PER_CHUNK * batch_size` are taken ahead of the last result, so memory does
    not grow with their number. Audio over 30 s is cut into equal windows whose probabilities (in generate mode: votes)
    are averaged, weighted by duration. A clip that cannot be read gives a result with `error` and does not stop the
    others.

    Args:
        model: `MSERForEmotionGeneration` or a classifier; it is in evaluation mode while the loop runs.
        processor: the processor of the model.
        sources: any form that `load_audio` reads.
        labels: the candidate labels, at least one.
        options: how to run the model and to score the labels.

    Raises:
        UnlearnedLabelError: the model never learned a label, and `options` do not allow that.
        ValueError: there are no labels.
        CompilationError: torch finds no compiler, or cannot compile the model.
    """
    labels = tuple(labels)
    if not labels:
        raise ValueError("No candidate labels; pass a label set such as label_set('seven').words.")
    unlearned = check_labels(model.config, labels, options.allow_unlearned_labels)
    if options.compile:
        check_compiler(model.device.type)
    results = _recognize(model, processor, sources, labels, options)
    return (replace(result, unlearned_labels=unlearned) for result in results) if unlearned else results


def _recognize(
    model: Any, processor: Any, sources: Iterable[Any], labels: tuple[str, ...], options: ScoringOptions
) -> Iterator[Recognition]:
    was_training = model.training
    model.eval()
    chunk_size = BATCHES_PER_CHUNK * options.batch_size
    predict_windows = _WindowPredictor(model, processor, labels, options)
    try:
        with ExitStack() as stack:
            # Closed with this generator, so that no reader thread outlives a consumer that stops early.
            chunks = stack.enter_context(closing(load_ahead(sources, chunk_size)))
            if options.compile:
                stack.enter_context(compiled(model))
            for clips in chunks:
                outputs: dict[int, list[tuple[float, Any]]] = defaultdict(list)
                powers: dict[int, np.ndarray] = {}
                failures = {index: clip.error for index, clip in enumerate(clips) if clip.error is not None}
                windows = windows_of(clips, failures)
                # In parts, because the windows of a long recording do not fit into memory.
                while part := list(islice(windows, chunk_size)):
                    predicted = predict_windows([waveform for _, waveform in part])
                    for (index, waveform), output in zip(part, predicted, strict=True):
                        outputs[index].append((len(waveform) / SAMPLING_RATE, output))
                        powers[index] = powers.get(index, 0) + band_powers(waveform)
                for index, clip in enumerate(clips):
                    if index in failures:
                        yield Recognition(clip.source, None, error=failures[index])
                        continue
                    result = predict_windows.combine(clip, outputs[index])
                    yield replace(result, bandwidth_hz=narrow_bandwidth(powers[index], SAMPLING_RATE))
    finally:
        model.train(was_training)


class _WindowPredictor:
    """Predict windows in batches of similar length, and combine the windows of a clip."""

    def __init__(self, model: Any, processor: Any, labels: tuple[str, ...], options: ScoringOptions):
        self.model, self.processor, self.labels, self.options = model, processor, labels, options
        self.candidates = processor.candidate_ids(labels) if options.decode == "score" else None
        # A classifier crops clips to the positions of its encoder.
        self.max_seconds = getattr(processor, "crop_seconds", None) or processor.max_seconds

    def __call__(self, waveforms: list[np.ndarray]) -> list[Any]:
        """Return the probabilities of the labels, or the text, of each waveform `(num_samples,)`."""
        by_length = sorted(range(len(waveforms)), key=lambda position: len(waveforms[position]))
        outputs: list[Any] = [None] * len(waveforms)
        for start in range(0, len(waveforms), self.options.batch_size):
            batch = by_length[start : start + self.options.batch_size]
            for position, output in zip(batch, self._predict([waveforms[index] for index in batch]), strict=True):
                outputs[position] = output
        return outputs

    def _predict(self, waveforms: list[np.ndarray]) -> Any:
        # Features are extracted without the checks of a call: one window of a good recording may be silent.
        inputs = self.processor.extract_features(waveforms) | self.processor.encode_text(len(waveforms))
        inputs = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
        if self.options.compile:
            inputs = to_bucket(inputs, self.options.batch_size, self.max_seconds)
        if self.candidates is None:
            return self.processor.batch_decode(generate_texts(self.model, inputs)[0])
        probabilities = label_probabilities(self.model, inputs, self.candidates, **self.options.scoring)
        return probabilities[: len(waveforms)].numpy()

    def combine(self, clip: LoadedClip, outputs: list[tuple[float, Any]]) -> Recognition:
        """Combine the windows of a clip, each with its seconds: the mean of scores, the majority of texts."""
        seconds, values = [duration for duration, _ in outputs], [value for _, value in outputs]
        if self.candidates is None:
            label = majority(seconds, self.processor.parse_emotions(values, self.labels), UNPARSED)
            return Recognition(clip.source, label, text=" | ".join(values), seconds=clip.seconds)
        mean = mean_over_time(seconds, np.stack(values))
        if not np.isfinite(mean).all():
            name = clip_path(clip.source) or f"<{type(clip.source).__name__}>"
            error = f"{name}: the model's scores are not numbers (NaN); load it in float32"
            return Recognition(clip.source, None, error=error, seconds=clip.seconds)
        scores = {label: float(probability) for label, probability in zip(self.labels, mean, strict=True)}
        return Recognition(clip.source, self.labels[int(mean.argmax())], scores=scores, seconds=clip.seconds)
