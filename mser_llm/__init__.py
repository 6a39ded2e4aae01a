# SPDX-License-Identifier: Apache-2.0
"""
Recognize the emotion in speech with a large language model.

    >>> import mser_llm
    >>> recognizer = mser_llm.load("runs/demo/model")
    >>> result = recognizer("clip.wav")
    >>> result.label, result.scores["happy"]
    ('happy', 0.9)

These names are the public interface (docs/stability.md). torch is imported only when a name that needs it is used.
"""

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from mser_llm.inference.recognition import Recognition
    from mser_llm.inference.recognizer import EmotionRecognizer, load
    from processing_mser.emotions_mser import label_set

    __version__: str

__all__ = ["EmotionRecognizer", "Recognition", "__version__", "label_set", "load"]

_MODULES = {
    "EmotionRecognizer": "mser_llm.inference.recognizer",
    "Recognition": "mser_llm.inference.recognition",
    "label_set": "processing_mser.emotions_mser",
    "load": "mser_llm.inference.recognizer",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mser-llm")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
