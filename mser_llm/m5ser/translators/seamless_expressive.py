# SPDX-License-Identifier: Apache-2.0
"""SeamlessExpressive, the translator of the paper, in its own Python environment.

Source: Seamless Communication et al., "Seamless: Multilingual Expressive and Streaming Speech Translation",
arXiv:2312.05187, and its package seamless_communication. That package requires versions that conflict with this
project's (`fairseq2==0.2.*`, `datasets==2.18.0`), so a worker runs it in its own environment.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mser_llm.data.translator import (
    LanguageError,
    SourceClip,
    Translation,
    TranslationError,
    Translator,
    TranslatorStartError,
)
from mser_llm.m5ser.translators.worker_process import WorkerError, WorkerProcess


LANGUAGE_CODES: dict[str, str] = {"de": "deu", "en": "eng", "es": "spa", "fr": "fra", "it": "ita", "zh": "cmn"}
DURATION_FACTORS: dict[str, float] = {"de": 1.1, "fr": 1.2}
"""As published; 1 for every other language."""
INSTRUCTIONS = (
    "request the weights at https://huggingface.co/facebook/seamless-expressive, create a separate environment with "
    "`pip install fairseq2==0.2.* git+https://github.com/facebookresearch/seamless_communication`, and pass its "
    "interpreter and the folder of the weights as the options python and model_dir (docs/translators.md)"
)
_WEIGHTS = "m2m_expressive_unity.pt"
_SECONDS_TO_START = 900.0
_WORKER = Path(__file__).with_name("seamless_expressive_worker.py")


class SeamlessExpressiveTranslator(Translator):
    """Translate with SeamlessExpressive, one clip at a time.

    Args:
        python: interpreter of the environment with seamless_communication.
        model_dir: folder of the gated weights.
        model: name of the speech-to-unit model.
        vocoder: `vocoder_pretssel` (24 kHz) or `vocoder_pretssel_16khz`.
        duration_factors: factor by target language, instead of the published ones.
        seconds_per_clip: time limit for one clip.
        device: of the models.

    Raises:
        TranslatorStartError: the environment or the weights are missing.
        ValueError: a duration factor for an unsupported language.
    """

    name = "seamless_expressive"
    # It covers the model's output, has to be accepted by every user, and forbids commercial use.
    license = "Seamless Licensing Agreement"
    non_commercial = True
    redistribution = False

    def __init__(
        self,
        *,
        python: str,
        model_dir: str,
        model: str = "seamless_expressivity",
        vocoder: str = "vocoder_pretssel",
        duration_factors: Mapping[str, float] = DURATION_FACTORS,
        seconds_per_clip: float = 600.0,
        device: str = "cpu",
    ) -> None:
        unknown = sorted(set(duration_factors) - set(LANGUAGE_CODES))
        if unknown:
            raise ValueError(
                f"duration_factors has {', '.join(unknown)}; the languages are {', '.join(LANGUAGE_CODES)}"
            )
        if shutil.which(python) is None:
            raise TranslatorStartError(f"no Python interpreter {python!r} for SeamlessExpressive; {INSTRUCTIONS}")
        if not Path(model_dir, _WEIGHTS).is_file():
            raise TranslatorStartError(f"no {_WEIGHTS} in {model_dir!r} for SeamlessExpressive; {INSTRUCTIONS}")
        self._python = python
        self._settings = {"model_dir": str(model_dir), "model": model, "vocoder": vocoder, "device": device}
        self._factors = dict(duration_factors)
        self._seconds_per_clip = seconds_per_clip
        self._start()

    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        if language not in LANGUAGE_CODES:
            raise LanguageError(f"the translator {self.name!r} supports {', '.join(LANGUAGE_CODES)}, not {language!r}")
        return [self._translate(clip, language) for clip in clips]

    def fingerprint(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": self._settings["model"],
            "vocoder": self._settings["vocoder"],
            "weights_bytes": os.path.getsize(Path(self._settings["model_dir"], _WEIGHTS)),
            "duration_factors": {language: self._factors.get(language, 1.0) for language in LANGUAGE_CODES},
        }

    def close(self) -> None:
        self._worker.close()

    def _start(self) -> None:
        self._worker = WorkerProcess([self._python, str(_WORKER)])
        try:
            self.sampling_rate = self._worker.ask(self._settings, seconds=_SECONDS_TO_START)
        except WorkerError as error:
            raise TranslatorStartError(f"SeamlessExpressive {error} during start-up; {INSTRUCTIONS}") from None

    def _translate(self, clip: SourceClip, language: str) -> Translation:
        if self._worker.ended:
            self._start()
        factor = self._factors.get(language, 1.0)
        request = (clip.waveform.astype(np.float32).tobytes(), LANGUAGE_CODES[language], factor)
        samples, rate, text = self._worker.ask(request, seconds=self._seconds_per_clip)
        return Translation(np.frombuffer(samples, np.float32), rate, text, {"duration_factor": factor})
