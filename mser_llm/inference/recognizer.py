# SPDX-License-Identifier: Apache-2.0
"""The Python interface to a trained model: load it once, call it with audio."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mser_llm.inference.compilation import check_compiler
from mser_llm.inference.loading import load_model, pick_device
from mser_llm.inference.recognition import Recognition, recognize
from mser_llm.inference.scoring_options import ScoringOptions
from processing_mser.emotions_mser import LabelSet, default_labels, label_set


Labels = str | Sequence[str] | LabelSet


class EmotionRecognizer:
    """
    A trained model that recognizes the emotion in speech.

        >>> recognizer = mser_llm.load("runs/demo/model")
        >>> recognizer("clip.wav").label
        'happy'

    Args:
        model, processor: as `load_model` returns them.
        labels: the candidate labels: `four`, `seven`, words separated by commas, a list or a `LabelSet`; by default
            those of the model's last training stage.
        options: how to run the model and to score the labels.

    Raises:
        ValueError: the labels are not a label set.
    """

    def __init__(
        self, model: Any, processor: Any, labels: Labels | None = None, options: ScoringOptions = ScoringOptions()
    ):
        self.model, self.processor, self.options = model, processor, options
        self.labels: tuple[str, ...] = (
            default_labels(model.config.emotion_words) if labels is None else label_set(labels).words
        )

    def __call__(self, audio: Any, *, labels: Labels | None = None) -> Any:
        """
        Recognize the emotion in one clip or in several.

        Args:
            audio: a path, the bytes of a file, a binary file object, an array or tensor `(num_samples,)` at 16 kHz,
                `{"array", "sampling_rate"}`, or a list or tuple of these.
            labels: candidate labels for this call.

        Returns:
            A `Recognition`; for a list or tuple, a list of them in the same order. For a clip that cannot be read,
            `error` says why and `label` is None.

        Raises:
            UnlearnedLabelError: the model never learned a label, and the options do not allow that.
        """
        if isinstance(audio, (list, tuple)):
            return list(self.stream(audio, labels=labels))
        (result,) = self.stream([audio], labels=labels)
        return result

    def stream(self, audios: Iterable[Any], *, labels: Labels | None = None) -> Iterator[Recognition]:
        """Recognize clips one after the other, in constant memory: for a generator or for many files."""
        words = self.labels if labels is None else label_set(labels).words
        return recognize(self.model, self.processor, audios, words, self.options)

    def __repr__(self) -> str:
        return f"EmotionRecognizer({self.model.config.name_or_path!r}, labels={list(self.labels)})"


def load(
    model: str,
    device: str = "auto",
    *,
    labels: Labels | None = None,
    prompt: str | None = None,
    quantize: str | None = None,
    **options: Any,
) -> EmotionRecognizer:
    """
    Load a model and its processor from a folder or the Hub onto an available device.

    Args:
        model: a folder written by `run-mser train` or `save_pretrained`, or a Hub id.
        device: `auto` (CUDA, else Apple's GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        labels: as in `EmotionRecognizer`.
        prompt: version of the prompt template; by default that of the training.
        quantize: `int8` (CPU) or `4bit` (CUDA, with the extra `quantization`).
        options: fields of `ScoringOptions`, such as `batch_size` or `decode`.

    Raises:
        ModelNotFoundError: the folder is missing or contains no model of this project.
        ValueError: an unknown device, prompt or label set, an option out of range, or an unsupported quantization.
        ImportError: the library of the quantization is not installed.
        CompilationError: `compile` is set and torch finds no compiler.
    """
    settings = ScoringOptions(**options)
    chosen = None if labels is None else label_set(labels)
    if settings.compile:
        check_compiler(pick_device(device))
    return EmotionRecognizer(*load_model(model, device, prompt, quantize), chosen, settings)
