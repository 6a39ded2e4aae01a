# SPDX-License-Identifier: Apache-2.0
"""SeamlessExpressive, the translator of the paper, in a Python environment of its own.

Source: Seamless Communication et al., "Seamless: Multilingual Expressive and Streaming Speech Translation",
arXiv:2312.05187, and its package seamless_communication. That package asks for versions that do not live with this
project's (`fairseq2==0.2.*`, `datasets==2.18.0`), so a worker runs it there and stays up between batches.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
"""The published ones; 1 for every other language."""
INSTRUCTIONS = (
    "ask for the weights at https://huggingface.co/facebook/seamless-expressive, make an environment of its own with "
    "`pip install fairseq2==0.2.* git+https://github.com/facebookresearch/seamless_communication`, and give its "
    "interpreter and the weights' folder as the options python and model_dir (docs/translators.md)"
)
_WEIGHTS = "m2m_expressive_unity.pt"
_SECONDS_TO_START = 900.0
_WORKER = Path(__file__).with_name("seamless_expressive_worker.py")


class SeamlessExpressiveTranslator(Translator):
    """Translates by SeamlessExpressive, one clip at a time.

    Args:
        python: interpreter of the environment that has seamless_communication.
        model_dir: folder of the gated weights.
        model: name of the speech-to-unit model.
        vocoder: `vocoder_pretssel` (24 kHz) or `vocoder_pretssel_16khz`.
        duration_factors: target language to factor, in place of the published ones.
        seconds_per_clip: longest time for one clip.
        device: where the models run.

    Raises:
        TranslatorStartError: the environment or the weights are not there.
        ValueError: a duration factor for a language that it does not speak.
    """

    name = "seamless_expressive"
    # Its license covers what the model makes, asks everyone to agree to it first, and forbids commercial use.
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
        self._worker: WorkerProcess | None = None
        self._start()

    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        if language not in LANGUAGE_CODES:
            raise LanguageError(
                f"the translator {self.name!r} speaks {', '.join(LANGUAGE_CODES)}, not {language!r}; choose of these"
            )
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
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _start(self) -> WorkerProcess:
        worker = WorkerProcess([self._python, str(_WORKER), str(os.getpid())])
        try:
            greeting, _ = worker.ask(self._settings, seconds=_SECONDS_TO_START)
        except WorkerError as error:
            raise TranslatorStartError(f"SeamlessExpressive {error} while it was starting; {INSTRUCTIONS}") from None
        if "failure" in greeting:
            worker.close()
            raise TranslatorStartError(f"SeamlessExpressive did not start: {greeting['failure']}; {INSTRUCTIONS}")
        self.sampling_rate = greeting["sampling_rate"]
        self._worker = worker
        return worker

    def _translate(self, clip: SourceClip, language: str) -> Translation:
        worker = self._worker or self._start()
        factor = self._factors.get(language, 1.0)
        request = {"code": LANGUAGE_CODES[language], "duration_factor": factor}
        try:
            answer, waveforms = worker.ask(request, [clip.waveform], seconds=self._seconds_per_clip)
        except WorkerError:
            self._worker = None
            raise
        if "failure" in answer:
            # Out of memory, or worse: nothing is known of the device's state, and the worker has ended.
            self.close()
            raise WorkerError(f"failed ({answer['failure']})")
        return Translation(
            waveform=waveforms[0],
            sampling_rate=answer["sampling_rate"],
            transcript=answer["text"],
            metadata={"duration_factor": factor},
        )
