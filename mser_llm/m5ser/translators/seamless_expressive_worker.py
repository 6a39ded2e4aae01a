# SPDX-License-Identifier: Apache-2.0
"""Run SeamlessExpressive in its own environment: `python seamless_expressive_worker.py DESCRIPTOR PARENT_PID`.

The steps are those of the package's published `expressivity_predict`, one clip at a time, with the models loaded once.
Of this project only `worker_process.py` is imported. The packages of the other environment are imported by name,
because this environment lacks them.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class ExpressiveModel:
    """Prosody UnitY2 (speech to units) and PRETSSEL (units and the source's prosody to speech).

    Args:
        settings: `model_dir`, `model`, `vocoder`, `device`.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        package = "seamless_communication"
        importlib.import_module(f"{package}.store").add_gated_assets(Path(settings["model_dir"]))
        torch = self._torch = importlib.import_module("torch")
        inference = importlib.import_module(f"{package}.inference")
        unity = importlib.import_module(f"{package}.models.unity")
        expressivity = importlib.import_module(f"{package}.cli.expressivity.predict.pretssel_generator")
        audio = importlib.import_module("fairseq2.data.audio")

        self._device = torch.device(settings["device"])
        dtype = torch.float32 if self._device.type == "cpu" else torch.float16
        self._translator = inference.Translator(
            settings["model"], vocoder_name_or_card=None, device=self._device, dtype=dtype
        )
        self._generator = expressivity.PretsselGenerator(
            settings["vocoder"],
            vocab_info=unity.load_unity_unit_tokenizer(settings["model"]).vocab_info,
            device=self._device,
            dtype=dtype,
        )
        self.sampling_rate = int(self._generator.output_sample_rate)
        self._filter_bank = audio.WaveformToFbankConverter(
            num_mel_bins=80,
            waveform_scale=2**15,
            channel_last=True,
            standardize=False,
            device=self._device,
            dtype=dtype,
        )
        mean, deviation = unity.load_gcmvn_stats(settings["vocoder"])
        self._mean = torch.tensor(mean, device=self._device, dtype=dtype)
        self._deviation = torch.tensor(deviation, device=self._device, dtype=dtype)

    def translate(self, waveform: np.ndarray, code: str, duration_factor: float) -> tuple[np.ndarray, int, str]:
        """Translate samples (samples,) at 16 kHz into samples, their rate in Hz, and the text."""
        torch = self._torch
        with torch.inference_mode():
            sound = torch.tensor(waveform, device=self._device)[:, None]
            features = self._filter_bank({"waveform": sound, "sample_rate": 16_000})["fbank"]
            prosody = self._batch((features - self._mean) / self._deviation)
            deviation, mean = torch.std_mean(features, dim=0)
            # Without decoding options `predict` uses those of the command line.
            text, units = self._translator.predict(
                self._batch((features - mean) / deviation),
                "s2st",
                code,
                duration_factor=duration_factor,
                prosody_encoder_input=prosody,
            )
            spoken = self._generator.predict(units.units, tgt_lang=code, prosody_encoder_input=prosody)
        samples = spoken.audio_wavs[0][0].to(torch.float32).cpu().numpy().reshape(-1)
        # The text marks emphasis with * and pauses with =.
        return samples, int(spoken.sample_rate), " ".join(str(text[0]).replace("*", "").replace("=", "").split())

    def _batch(self, features: Any) -> dict[str, Any]:
        """Return fairseq2's `SequenceData` for one sequence (frames, bins)."""
        lengths = self._torch.LongTensor([features.shape[0]])
        return {"seqs": features.unsqueeze(0), "seq_lens": lengths, "is_ragged": False}


def start(settings: dict[str, Any]) -> tuple[int, Callable[[Any], Any]]:
    model = ExpressiveModel(settings)

    def translate(request: tuple[bytes, str, float]) -> tuple[bytes, int, str]:
        # Bytes, because NumPy 1 cannot read the arrays that NumPy 2 pickles.
        samples, rate, text = model.translate(np.frombuffer(request[0], np.float32), *request[1:])
        return samples.astype(np.float32).tobytes(), rate, text

    return model.sampling_rate, translate


if __name__ == "__main__":
    worker_process = importlib.import_module("worker_process")
    # The files next to this one have names that other packages use too.
    sys.path.remove(str(Path(__file__).resolve().parent))
    worker_process.serve(start)
