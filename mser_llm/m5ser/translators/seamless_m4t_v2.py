# SPDX-License-Identifier: Apache-2.0
"""SeamlessM4T v2 with transformers: translates the words, in the vocoder's voice, so it keeps little of the emotion.

Source: Seamless Communication et al., "Seamless: Multilingual Expressive and Streaming Speech Translation",
arXiv:2312.05187. The weights, facebook/seamless-m4t-v2-large, are under CC BY-NC 4.0.
"""

from collections.abc import Sequence
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


LANGUAGE_CODES: dict[str, str] = {
    "ar": "arb",
    "bn": "ben",
    "cs": "ces",
    "de": "deu",
    "en": "eng",
    "es": "spa",
    "fa": "pes",
    "fi": "fin",
    "fr": "fra",
    "hi": "hin",
    "id": "ind",
    "it": "ita",
    "ja": "jpn",
    "ko": "kor",
    "nl": "nld",
    "pl": "pol",
    "pt": "por",
    "ro": "ron",
    "ru": "rus",
    "sv": "swe",
    "th": "tha",
    "tr": "tur",
    "uk": "ukr",
    "ur": "urd",
    "vi": "vie",
    "zh": "cmn",
}
"""ISO 639-1 to the model's own codes. The loaded model may support fewer of them."""


class SeamlessM4Tv2Translator(Translator):
    """Translate with `SeamlessM4Tv2ForSpeechToSpeech`, in batches.

    Args:
        model: a model id on the Hub, or a folder.
        revision: of the model id.
        speaker_id: the vocoder's voice, below `config.vocoder_num_spkrs` (200).
        num_beams: of the text decoder; 1 is greedy.
        max_new_tokens: maximum tokens of translated text.
        dtype: `float32`, `float16` or `bfloat16`.
        device: of the model.

    Raises:
        TranslatorStartError: the weights are missing or incomplete.
        ValueError: unknown speaker.
    """

    name = "seamless_m4t_v2"
    license = "CC-BY-NC-4.0"
    non_commercial = True

    def __init__(
        self,
        *,
        model: str = "facebook/seamless-m4t-v2-large",
        revision: str | None = None,
        speaker_id: int = 0,
        num_beams: int = 5,
        max_new_tokens: int = 256,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        from transformers import SeamlessM4TFeatureExtractor, SeamlessM4Tv2ForSpeechToSpeech

        class StrictModel(SeamlessM4Tv2ForSpeechToSpeech):
            """Report missing weights. The parts of the model ignore each other's, which would stay random silently."""

            def post_init(self) -> None:
                super().post_init()
                self._keys_to_ignore_on_load_missing = None

        try:
            self._features = SeamlessM4TFeatureExtractor.from_pretrained(model, revision=revision)
            loaded, report = StrictModel.from_pretrained(
                model, revision=revision, dtype=dtype, output_loading_info=True
            )
        except OSError as error:
            raise TranslatorStartError(
                f"no SeamlessM4T v2 at {model!r} ({' '.join(str(error).split())[:200]}); download it with "
                f"`hf download facebook/seamless-m4t-v2-large --local-dir DIR` (9 GB) and set the option model: DIR"
            ) from error
        if report["missing_keys"]:
            raise TranslatorStartError(
                f"the weights at {model!r} lack {len(report['missing_keys'])} tensors, the first of them "
                f"{min(report['missing_keys'])}; download them again"
            )
        if not 0 <= speaker_id < loaded.config.vocoder_num_spkrs:
            raise ValueError(f"speaker_id {speaker_id} is not below {loaded.config.vocoder_num_spkrs}")
        self._model = loaded.eval().to(device)
        self.sampling_rate = int(loaded.config.sampling_rate)
        self._options = {"model": model, "speaker_id": speaker_id, "num_beams": num_beams, "dtype": dtype}
        self._options["max_new_tokens"] = max_new_tokens

    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        import torch

        code = LANGUAGE_CODES.get(language)
        spoken = self._model.generation_config.vocoder_lang_code_to_id
        if code not in spoken:
            known = sorted(short for short, code in LANGUAGE_CODES.items() if code in spoken)
            raise LanguageError(f"the translator {self.name!r} supports {', '.join(known)}, not {language!r}")
        inputs = self._features(
            [clip.waveform for clip in clips], sampling_rate=16_000, return_tensors="pt", padding=True
        ).to(self._model.device)
        with torch.inference_mode():
            generated = self._model.generate(
                inputs["input_features"].to(self._model.dtype),
                attention_mask=inputs["attention_mask"],
                tgt_lang=code,
                speaker_id=self._options["speaker_id"],
                text_num_beams=self._options["num_beams"],
                text_max_new_tokens=self._options["max_new_tokens"],
                return_intermediate_token_ids=True,
            )
        waveforms = generated.waveform.float().cpu().numpy().reshape(len(clips), -1)
        lengths = generated.waveform_lengths.reshape(-1).tolist()
        return [
            Translation(
                waveform=np.ascontiguousarray(waveform[: int(length)]),
                sampling_rate=int(self.sampling_rate or 0),
                transcript=self._text(tokens),
            )
            for waveform, length, tokens in zip(waveforms, lengths, generated.sequences.tolist())
        ]

    def fingerprint(self) -> dict[str, Any]:
        from importlib.metadata import version

        return {
            "name": self.name,
            **self._options,
            "commit": getattr(self._model.config, "_commit_hash", None),
            "transformers": version("transformers"),
            "torch": version("torch"),
        }

    def _text(self, tokens: list[int]) -> str:
        """Decode the translated text with the subwords of the generation configuration."""
        settings = self._model.generation_config
        special = {settings.pad_token_id, settings.bos_token_id, settings.eos_token_id}
        special |= set(settings.text_decoder_lang_to_code_id.values())
        subwords = [settings.id_to_text.get(str(token), "") for token in tokens if token not in special]
        return "".join(subwords).replace("▁", " ").strip()
