# SPDX-License-Identifier: Apache-2.0
"""What a translator is: a batch of clips and a target language in, clips in that language out."""

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


TRANSLATORS: dict[str, str] = {
    "espeak": "mser_llm.m5ser.translators.espeak:EspeakTranslator",
    "seamless_m4t_v2": "mser_llm.m5ser.translators.seamless_m4t_v2:SeamlessM4Tv2Translator",
    "seamless_expressive": "mser_llm.m5ser.translators.seamless_expressive:SeamlessExpressiveTranslator",
}
"""Name to `module:Class`; a `module:Class` of one's own is a name too."""


@dataclass(frozen=True)
class SourceClip:
    """What a translator may know of a clip. The emotion is not among it: it has to be heard."""

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
    """What is said, where the translator knows it."""
    metadata: dict[str, str | float] = field(default_factory=dict)
    """Whatever else the translator measured or chose."""


class TranslationError(ValueError):
    """One clip could not be translated; the message says why, and no other clip is touched."""


class LanguageError(ValueError):
    """A translator does not speak a language, whatever the clip."""


class TranslatorStartError(OSError):
    """A translator could not start: weights, an environment or a package are missing. The message names the cure."""


class Translator(ABC):
    """Speech in one language to speech in another.

    A subclass takes its options and `device` as keyword arguments. Its class attributes say what may be done with what
    it makes, and can be read without starting it; see [`translator_class`].
    """

    name: str = ""
    sampling_rate: int | None = None
    """Of every clip that comes out, in Hz; None where that may differ from clip to clip."""
    license: str = ""
    """The license that covers what the translator makes."""
    non_commercial: bool = False
    """Whether that license forbids commercial use."""
    redistribution: bool = True
    """Whether that license lets anyone publish what the translator makes, under its terms."""

    @abstractmethod
    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        """Translate a batch.

        Args:
            clips: in any order and of any languages that the translator understands.
            language: the target, ISO 639-1.

        Returns:
            for each clip, in order, its translation or the error that it ran into.

        Raises:
            LanguageError: the translator does not speak the language.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What decides the output, as JSON: name, options, versions, seed."""

    def close(self) -> None:  # noqa: B027
        """Release processes and memory; harmless when done twice."""


def translator_class(name: str) -> type[Translator]:
    """The class behind a name of `TRANSLATORS`, or behind a `module:Class` of one's own.

    Raises:
        ValueError: no such name, module or class, or the class is no [`Translator`].
    """
    target = TRANSLATORS.get(name, name)
    module_name, colon, class_name = target.partition(":")
    if not colon:
        raise ValueError(f"no translator {name!r}; choose from {', '.join(TRANSLATORS)}, or give MODULE:CLASS")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        # A package that the translator itself lacks is another matter than the translator.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"translator {name!r}: no module {error.name!r}; put its folder on PYTHONPATH or install it"
        ) from error
    except AttributeError as error:
        raise ValueError(f"translator {name!r}: module {module_name!r} has no class {class_name!r}") from error
    if not (isinstance(found, type) and issubclass(found, Translator)):
        raise ValueError(f"translator {name!r} is no subclass of {Translator.__module__}.Translator")
    return found


def build_translator(name: str, options: Mapping[str, Any], device: str = "cpu") -> Translator:
    """Start a translator in this very process.

    Args:
        name: of `TRANSLATORS`, or `module:Class`.
        options: keyword arguments of the translator's class.
        device: `cpu`, `cuda:0` and so on.

    Raises:
        ValueError: no such translator, an option that it does not have, or one that it needs and is not there.
        TranslatorStartError: it cannot start.
    """
    found = translator_class(name)
    parameters = {key: one for key, one in inspect.signature(found).parameters.items() if key != "device"}
    known = ", ".join(parameters) or "none"
    unknown = sorted(set(options) - set(parameters))
    if unknown:
        raise ValueError(f"translator {name!r} has no option {', '.join(unknown)}; its options: {known}")
    missing = [key for key, one in parameters.items() if one.default is inspect.Parameter.empty and key not in options]
    if missing:
        raise ValueError(f"translator {name!r} needs the option {', '.join(missing)}; its options: {known}")
    return found(**{**options, "device": device})
