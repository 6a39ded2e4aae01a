# SPDX-License-Identifier: Apache-2.0
"""The interface of M5SER's speech translators: a batch of clips and a target language in, translated clips out."""

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mser_llm.io.errors import InputError


TRANSLATORS: dict[str, str] = {
    "espeak": "mser_llm.m5ser.translators.espeak:EspeakTranslator",
    "seamless_m4t_v2": "mser_llm.m5ser.translators.seamless_m4t_v2:SeamlessM4Tv2Translator",
    "seamless_expressive": "mser_llm.m5ser.translators.seamless_expressive:SeamlessExpressiveTranslator",
}
"""Name to `module:Class`. The `module:Class` of a user's own translator is a valid name too."""


@dataclass(frozen=True)
class SourceClip:
    """The input of a translator. The emotion is left out: a translator has to take it from the audio."""

    id: str
    """Unique within its corpus."""
    waveform: np.ndarray
    """float32 (samples,), mono at 16 kHz."""
    language: str
    """ISO 639-1."""
    transcript: str | None = None
    speaker: str | None = None
    gender: str | None = None
    source_corpus: str = ""


@dataclass(frozen=True)
class Translation:
    """One clip in the target language."""

    waveform: np.ndarray
    """float32 (samples,), mono."""
    sampling_rate: int
    """In Hz."""
    transcript: str | None = None
    """The translated text, if the translator knows it."""
    metadata: dict[str, str | float] = field(default_factory=dict)
    """Other values that the translator measured or chose."""


class TranslationError(ValueError):
    """One clip could not be translated; other clips are not affected."""


class LanguageError(ValueError):
    """A translator does not support a language."""


class TranslatorStartError(OSError):
    """A translator could not start because weights, an environment or a package are missing."""


class Translator(ABC):
    """
    Translate speech in one language to speech in another.

    A subclass takes its options and `device` as keyword arguments. Its class attributes state the license of its
    output and can be read without starting it ([`translator_class`]).
    """

    name: str = ""
    sampling_rate: int | None = None
    """Of all output clips, in Hz; None if it may differ between clips."""
    license: str = ""
    """The license of the output."""
    non_commercial: bool = False
    """Whether that license forbids commercial use."""
    redistribution: bool = True
    """Whether that license permits publishing the output."""

    @abstractmethod
    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        """
        Translate a batch.

        Args:
            clips: in any order and any supported languages.
            language: the target, ISO 639-1.

        Returns:
            for each clip, in order, its translation or error.

        Raises:
            LanguageError: the translator does not support the target.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """Return everything that the output depends on, JSON-ready: name, options, versions, seed."""

    def close(self) -> None:  # noqa: B027
        """Release processes and memory. Calling it twice is safe."""


def translator_class(name: str) -> type[Translator]:
    """
    Import the class of a name in `TRANSLATORS`, or of a `module:Class`.

    Raises:
        InputError: no such name, module or class, or the class is not a [`Translator`].
    """
    source, target = f"translator {name!r}", TRANSLATORS.get(name, name)
    module_name, colon, class_name = target.partition(":")
    if not colon:
        raise InputError(source, "is unknown", f"choose from {', '.join(TRANSLATORS)}, or pass MODULE:CLASS")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        # The translator exists, but one of its own imports is missing.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        fix = "add its folder to PYTHONPATH, or install it"
        raise InputError(source, f"there is no module {error.name!r}", fix) from error
    except AttributeError as error:
        raise InputError(source, f"module {module_name!r} has no class {class_name!r}", "check the name") from error
    if not (isinstance(found, type) and issubclass(found, Translator)):
        raise InputError(source, "is not a translator", f"derive it from {Translator.__module__}.Translator")
    return found


def build_translator(name: str, options: Mapping[str, Any], device: str = "cpu") -> Translator:
    """
    Start a translator in this process.

    Args:
        name: a name of `TRANSLATORS`, or `module:Class`.
        options: keyword arguments of the translator's class.
        device: `cpu`, `cuda:0` and so on.

    Raises:
        InputError: unknown translator, unknown option, or missing option.
        TranslatorStartError: the translator cannot start.
    """
    found, source = translator_class(name), f"translator {name!r}"
    parameters = {key: one for key, one in inspect.signature(found).parameters.items() if key != "device"}
    known = ", ".join(parameters) or "none"
    unknown = sorted(set(options) - set(parameters))
    if unknown:
        raise InputError(source, f"has no option {', '.join(unknown)}", f"choose from {known}")
    missing = [key for key, one in parameters.items() if one.default is inspect.Parameter.empty and key not in options]
    if missing:
        raise InputError(source, f"needs the option {', '.join(missing)}", f"set it; its options are {known}")
    return found(**{**options, "device": device})
