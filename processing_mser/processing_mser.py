# SPDX-License-Identifier: Apache-2.0
"""`MSERProcessor`: turn audio and words into the sequence `[bos, audio x K, prompt, (emotion, eos)]`."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature

from .speech_processing_mser import SpeechProcessor


# Published results name their template, so a template never changes: another wording is another version.
PROMPTS = {
    "v1": "What is the emotion of the speaker? Answer with one word:",
    "v2": "Describe the speaker's emotion in one word:",
    "v3": "Listen to the voice. The speaker sounds",
}
IGNORED = -100


class MSERProcessor(SpeechProcessor):
    """
    Combine Whisper's feature extractor and a language model's tokenizer.

    Args:
        feature_extractor: a `WhisperFeatureExtractor`.
        tokenizer: the language model's tokenizer. `audio_token` is added as a special token if it is missing; the end
            of sequence becomes the padding token if there is none.
        num_query_tokens: number of audio positions K, as in `MSERConfig`.
        prompt_version: one of `PROMPTS`.
        audio_token: the placeholder; by default LLaMA 3's first reserved token, or `<|audio|>` if the tokenizer has
            none.
        pad_to: `"longest"` pads to the longest clip of the batch, with a mask. `"30s"` pads every clip with silence to
            30 s and attends to the padding, like stock Whisper.
    """

    def __init__(
        self,
        feature_extractor: Any,
        tokenizer: Any,
        num_query_tokens: int = 32,
        prompt_version: str = "v1",
        audio_token: str | None = None,
        pad_to: str = "longest",
    ):
        _check_prompt_version(prompt_version)
        if pad_to not in ("longest", "30s"):
            raise ValueError(f'pad_to is {pad_to!r}; pass "longest" or "30s"')
        super().__init__(feature_extractor, tokenizer)
        if audio_token is None:
            reserved = "<|reserved_special_token_0|>"
            audio_token = reserved if reserved in tokenizer.get_vocab() else "<|audio|>"
        if audio_token not in tokenizer.get_vocab():
            tokenizer.add_special_tokens({"additional_special_tokens": [audio_token]})
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.num_query_tokens = num_query_tokens
        self.prompt_version = prompt_version
        self.audio_token = audio_token
        self.pad_to = pad_to

    @property
    def audio_token_id(self) -> int:
        return self.tokenizer.convert_tokens_to_ids(self.audio_token)

    @property
    def prompt(self) -> str:
        """The text of the prompt."""
        return PROMPTS[self.prompt_version]

    def with_prompt(self, version: str) -> "MSERProcessor":
        """Return a processor with another of `PROMPTS`; it shares the feature extractor and the tokenizer."""
        _check_prompt_version(version)
        other = copy(self)
        other.prompt_version = version
        return other

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", "input_features", "input_features_mask"]

    def __call__(
        self,
        audio: Any = None,
        emotion: str | Sequence[str] | None = None,
        prompt: str | Sequence[str] | None = None,
        padding_side: str | None = None,
        return_tensors: str = "pt",
        sampling_rate: int | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """
        Read clips and return the model's inputs.

        Args:
            audio: one clip or a list of clips, each in any form of `load_audio` (path, bytes, file object,
                `{"array", "sampling_rate"}`, `{"bytes", "path"}`, array or tensor).
            emotion: the target word, one per clip.
            prompt: text that replaces the template, one for all clips or one per clip.
            padding_side: by default `"right"` with an emotion (training) and `"left"` without (generation, scoring).
            return_tensors: only `"pt"`.
            sampling_rate: of arrays and tensors, in Hz; by default the model's. They are resampled if necessary. The
                other forms contain their rate.

        Returns:
            `input_ids`, `attention_mask` `(batch_size, length)`; `input_features` `(batch_size, num_mel_bins,
            num_frames)`; `input_features_mask` `(batch_size, num_frames)`; with an emotion `labels`
            `(batch_size, length)`, -100 except for the emotion and eos.

        Raises:
            AudioError: a clip cannot be used.
        """
        waveforms = self._read(audio, sampling_rate, return_tensors, kwargs)
        emotions = [emotion] if isinstance(emotion, str) else emotion
        inputs = self.extract_features(waveforms)
        inputs.update(self.encode_text(len(waveforms), emotions, prompt, padding_side))
        return BatchFeature(inputs)

    def extract_features(self, waveforms: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """
        Compute the log-mel spectrogram of each clip alone, then pad with zeros.

        Args:
            waveforms: mono float arrays `(num_samples,)` at `sampling_rate`.

        Returns:
            `input_features` `(batch_size, num_mel_bins, num_frames)` and `input_features_mask`
            `(batch_size, num_frames)`.
        """
        stock = self.pad_to == "30s"
        return self._features(waveforms, padding="max_length" if stock else "do_not_pad", truncation=False)

    def encode_text(
        self,
        batch_size: int,
        emotion: Sequence[str] | None = None,
        prompt: str | Sequence[str] | None = None,
        padding_side: str | None = None,
    ) -> dict[str, torch.Tensor]:
        """
        Return the token ids of `[bos, audio x K, prompt, (emotion, eos)]`, a mask and, with an emotion, labels.

        Use it alone if the encoder output is cached. Arguments and tensors as in `__call__`.
        """
        if prompt is None or isinstance(prompt, str):
            prompts = [self.prompt if prompt is None else prompt] * batch_size
        else:
            prompts = list(prompt)
        for name, given in (("emotion", emotion), ("prompt", prompts)):
            if given is not None and len(given) != batch_size:
                raise ValueError(f"{len(given)} values of {name} for {batch_size} clips; pass one per clip")
        side = padding_side or ("left" if emotion is None else "right")
        if side not in ("left", "right"):
            raise ValueError(f'padding_side is {side!r}; pass "left" or "right"')
        tokenizer = self.tokenizer
        start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        start = start + [self.audio_token_id] * self.num_query_tokens
        prefixes = [start + self._encode(text) for text in prompts]
        answers: list[list[int]] = [[]] * batch_size
        if emotion is not None:
            _check_words(emotion)
            answers = [self.candidate_ids([word], text)[0] for word, text in zip(emotion, prompts, strict=True)]
        length = max(len(prefix) + len(answer) for prefix, answer in zip(prefixes, answers, strict=True))
        input_ids = torch.full((batch_size, length), tokenizer.pad_token_id)
        attention_mask = torch.zeros_like(input_ids)
        labels = torch.full_like(input_ids, IGNORED)
        for row, (prefix, answer) in enumerate(zip(prefixes, answers, strict=True)):
            tokens = torch.tensor(prefix + answer)
            begin = length - len(tokens) if side == "left" else 0
            input_ids[row, begin : begin + len(tokens)] = tokens
            attention_mask[row, begin : begin + len(tokens)] = 1
            labels[row, begin + len(prefix) : begin + len(tokens)] = tokens[len(prefix) :]
        encoded = {"input_ids": input_ids, "attention_mask": attention_mask}
        return encoded if emotion is None else encoded | {"labels": labels}

    def prompt_inputs(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the text inputs before the answer, for a training batch whose rows share one prompt."""
        length = int((batch["labels"] != IGNORED).any(0).nonzero()[0])
        return {name: batch[name][:, :length] for name in ("input_ids", "attention_mask")}

    def candidate_ids(self, words: Sequence[str], prompt: str | None = None) -> list[list[int]]:
        """
        Return the token ids of each word after the prompt, with the end of sequence.

        Prompt and word are encoded together and the prompt's tokens are removed. Encoding a word alone gives other
        tokens with SentencePiece tokenizers such as LLaMA 2's, which put a space before every text.

        Args:
            words: candidate words.
            prompt: text before the words; by default the template.

        Raises:
            ValueError: `words` is a single text or contains something that is not a word; the tokenizer merges the end
                of the prompt with a word, or has no token for it.
        """
        _check_words(words)
        prompt = self.prompt if prompt is None else prompt
        prompt_ids = self._encode(prompt)
        eos = self.tokenizer.eos_token_id
        return [[*self._word_ids(word, prompt, prompt_ids), eos] for word in words]

    def _word_ids(self, word: str, prompt: str, prompt_ids: list[int]) -> list[int]:
        """Return the token ids of a word after a prompt, given the prompt's ids."""
        ids = self._encode(f"{prompt} {word}")
        if ids[: len(prompt_ids)] != prompt_ids:
            raise ValueError(
                f"the tokenizer merges the end of the prompt {prompt!r} with the word {word!r}; pass another prompt, "
                f"or another prompt_version ({', '.join(PROMPTS)})"
            )
        word_ids = ids[len(prompt_ids) :]
        # All words with unknown tokens would get the same score.
        unknown = self.tokenizer.unk_token_id
        if not word_ids or (unknown in word_ids and unknown != self.tokenizer.eos_token_id):
            raise ValueError(f"the tokenizer has no token for the word {word!r}; pass another word")
        return word_ids

    def _encode(self, text: str) -> list[int]:
        # A placeholder in a user's prompt is text, not an audio position.
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def batch_decode(self, sequences: Any, **kwargs: Any) -> list[str]:
        """Decode generated ids without special tokens and outer spaces."""
        kwargs.setdefault("skip_special_tokens", True)
        return [text.strip() for text in self.tokenizer.batch_decode(sequences, **kwargs)]

    def decode(self, sequence: Any, **kwargs: Any) -> str:
        """Decode one sequence like `batch_decode`."""
        kwargs.setdefault("skip_special_tokens", True)
        return self.tokenizer.decode(sequence, **kwargs).strip()


def _check_prompt_version(version: str) -> None:
    if version not in PROMPTS:
        raise ValueError(f"prompt_version is {version!r}; known are {', '.join(PROMPTS)}")


def _check_words(words: Sequence[str]) -> None:
    # Iterating over a text would give its letters as words.
    if isinstance(words, str):
        raise ValueError(f"{words!r} is one text; pass a list of words, or processor.words(...) of a label set")
    invalid = [word for word in words if not isinstance(word, str) or not word.strip()]
    if invalid:
        raise ValueError(f"{invalid[0]!r} is not a word; pass each as text, and leave out clips without an emotion")
