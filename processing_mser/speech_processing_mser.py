# SPDX-License-Identifier: Apache-2.0
"""`SpeechProcessor`: the audio side shared by all processors."""

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from transformers import ProcessorMixin

from .audio_mser import MAX_SECONDS, load_audio
from .bandwidth_mser import band_powers, narrow_bandwidth
from .emotions_mser import UNPARSED, label_set, parse_emotion
from .file_digests_mser import PROCESSOR_DIGESTS, pop_push_arguments, verified_files, write_digests
from .windows_mser import Window, read_recording, sliding_windows


class SpeechProcessor(ProcessorMixin):
    """Base class: cut recordings into windows and turn waveforms into padded features."""

    _auto_class = "AutoProcessor"  # saving the processor saves its code
    unparsed = UNPARSED
    feature_extractor: Any

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, *args: Any, accept_modified_files: bool = False, **kwargs: Any
    ) -> Any:
        """
        Load a processor from a folder or the Hub, and verify its files.

        Args:
            accept_modified_files: load modified files with a warning.
            args, kwargs: as in `ProcessorMixin.from_pretrained`.

        Raises:
            ModifiedFilesError: a file of the processor was modified after saving.
        """
        path = pretrained_model_name_or_path
        with verified_files(path, PROCESSOR_DIGESTS, accept_modified_files, **kwargs):
            return super().from_pretrained(path, *args, **kwargs)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        """Save the processor, its code and the digests of its files. Arguments as in `ProcessorMixin`."""
        push = pop_push_arguments(save_directory, kwargs)
        saved = super().save_pretrained(save_directory, *args, **kwargs)
        write_digests(save_directory, PROCESSOR_DIGESTS)
        if push is not None:
            self.push_to_hub(**push)
        return saved

    @property
    def sampling_rate(self) -> int:
        """Hz."""
        return self.feature_extractor.sampling_rate

    @property
    def max_seconds(self) -> float:
        """Maximum clip length in seconds; a longer clip raises `AudioTooLongError` and is never cut silently."""
        return float(getattr(self.feature_extractor, "chunk_length", MAX_SECONDS))

    def _read(
        self, audio: Any, sampling_rate: int | None, return_tensors: str, unknown: dict[str, Any]
    ) -> list[np.ndarray]:
        """Check the arguments of `__call__` and read the clips as waveforms `(num_samples,)`."""
        name = type(self).__name__
        if return_tensors != "pt" or unknown:
            rejected = [*unknown, *([] if return_tensors == "pt" else [f"return_tensors={return_tensors!r}"])]
            raise ValueError(f'{name} does not accept {", ".join(rejected)}; tensors are always PyTorch\'s ("pt")')
        if audio is None:
            raise ValueError(f"{name} needs audio; pass one clip or a list of clips")
        clips = list(audio) if isinstance(audio, (list, tuple)) else [audio]
        if not clips:
            raise ValueError("audio is an empty list; pass at least one clip")
        if sampling_rate is not None:
            arrays = (np.ndarray, torch.Tensor)
            clips = [
                {"array": clip, "sampling_rate": sampling_rate} if isinstance(clip, arrays) else clip for clip in clips
            ]
        return [load_audio(clip, self.sampling_rate, max_seconds=self.max_seconds) for clip in clips]

    def windows(
        self,
        source: Any,
        timeline: bool | None = None,
        window_seconds: float = 5.0,
        overlap_seconds: float = 1.0,
        max_recording_seconds: float | None = None,
    ) -> Iterator[Window]:
        """
        Read a recording of any length in windows of a length that the model accepts.

        Args:
            source: in any form of `load_audio`.
            timeline: `True` cuts overlapping windows of `window_seconds`, without keeping the complete recording in
                memory. `False` cuts the fewest windows of at most `max_seconds`, without overlap. `None` keeps a
                recording of up to `max_seconds` in one window and treats a longer one like `True`.
            window_seconds, overlap_seconds: windows of a timeline.
            max_recording_seconds: a longer recording is rejected.

        Raises:
            ValueError: an argument is not a number, or out of range.
            AudioError: as in `sliding_windows`.
        """
        for name, seconds in (("window_seconds", window_seconds), ("overlap_seconds", overlap_seconds)):
            if not isinstance(seconds, Real):
                raise ValueError(f"{name} is {seconds!r}; pass a number of seconds")
        if not 0 < window_seconds <= self.max_seconds:
            raise ValueError(
                f"window_seconds is {window_seconds:g}; pass more than 0 and at most {self.max_seconds:g}"
            )
        if timeline is False:
            recording = read_recording(source, self.sampling_rate, max_recording_seconds=max_recording_seconds)
            return recording.windows(self.max_seconds)
        single = 0.0 if timeline else self.max_seconds
        return sliding_windows(
            source, window_seconds, overlap_seconds, single, self.sampling_rate, max_recording_seconds
        )

    def band_powers(self, waveform: np.ndarray) -> np.ndarray:
        """Compute the energy in each frequency band; the energies of a recording's windows may be added."""
        return band_powers(waveform)

    def narrow_bandwidth(self, powers: np.ndarray) -> float | None:
        """Return the bandwidth in Hz of a narrow-band recording (4 kHz or less), else `None`."""
        return narrow_bandwidth(powers, self.sampling_rate)

    def words(self, labels: str | Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the words of a label set, given its name or words; `None` means `seven`."""
        return label_set("seven" if labels is None else labels).words

    def parse_emotions(self, texts: Sequence[str], words: Sequence[str]) -> list[str]:
        """Find in each text one of the words, or return `"unparsed"`."""
        return [parse_emotion(text, words) for text in texts]

    def _features(self, waveforms: Sequence[np.ndarray], **how: Any) -> dict[str, torch.Tensor]:
        """
        Extract features of each waveform alone and pad them with zeros along time, the last axis.

        The extractor's own batch padding changes Whisper's per-clip normalization and the length of a clip. Here, n
        samples always give n // hop_length frames.
        """
        name = self.feature_extractor.model_input_names[0]
        # Autocast is for the model: it would change the matrix product of the spectrogram.
        with torch.autocast("cpu", enabled=False):
            extracted = [
                self.feature_extractor(waveform, sampling_rate=self.sampling_rate, return_tensors="np", **how)
                for waveform in waveforms
            ]
        features = [torch.as_tensor(one[name][0]) for one in extracted]
        lengths = torch.tensor([feature.shape[-1] for feature in features])
        padded = torch.zeros(len(features), *features[0].shape[:-1], int(lengths.max()))
        for row, feature in zip(padded, features, strict=True):
            row[..., : feature.shape[-1]] = feature
        return {"input_features": padded, "input_features_mask": torch.arange(padded.shape[-1]) < lengths[:, None]}
