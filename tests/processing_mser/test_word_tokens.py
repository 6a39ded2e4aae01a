# SPDX-License-Identifier: Apache-2.0
"""Tokens of candidate words after a prompt, for each kind of tokenizer of language models."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlamaTokenizer, PreTrainedTokenizerFast, WhisperFeatureExtractor

from mser_llm.inference.tokenizer import build_tokenizer
from processing_mser import EMOTIONS, PROMPTS, MSERProcessor


WORDS = [*EMOTIONS, "very, very tired", "愤怒", "très étonné", "😀"]
TEXTS = [f"{prompt} {word}" for prompt in PROMPTS.values() for word in EMOTIONS]
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


def trained(tokenizer: Tokenizer, trainer: type = trainers.BpeTrainer, **options) -> Tokenizer:
    tokenizer.train_from_iterator(TEXTS, trainer(show_progress=False, **options))
    return tokenizer


def sentencepiece_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Train and return a vocabulary with bytes, and merges."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    model = json.loads(trained(tokenizer, vocab_size=600, special_tokens=[*SPECIAL.values()]).to_str())["model"]
    vocabulary = model["vocab"] | {name: len(model["vocab"]) + byte for byte, name in enumerate(BYTES)}
    return vocabulary, [tuple(merge) for merge in model["merges"]]


def llama2() -> PreTrainedTokenizerFast:
    """Like LLaMA 2's `tokenizer.json`: a normalizer puts a space before every text; unknown characters are bytes."""
    vocabulary, merges = sentencepiece_bpe()
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    own = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(own)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def llama2_class() -> LlamaTokenizer:
    """Like the class in transformers."""
    vocabulary, merges = sentencepiece_bpe()
    return LlamaTokenizer(vocab=vocabulary, merges=merges)


def unigram() -> PreTrainedTokenizerFast:
    """Like T5 and XLM-R, with bytes for unknown characters."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trained(tokenizer, trainers.UnigramTrainer, vocab_size=200, unk_token="<unk>", special_tokens=["<unk>"])
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    pieces = [(piece, score) for piece, score in pieces] + [(name, -20.0) for name in BYTES]
    tokenizer.model = models.Unigram(pieces, unk_id=0, byte_fallback=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def byte_level(*special: str, split: str | None = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    before = [] if split is None else [pre_tokenizers.Split(Regex(split), "isolated")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, pieces])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return trained(tokenizer, vocab_size=600, special_tokens=[*special], initial_alphabet=alphabet)


def llama3() -> PreTrainedTokenizerFast:
    bos = "<|begin_of_text|>"
    tokenizer = byte_level(bos, "<|end_of_text|>", "<|reserved_special_token_0|>", split=LLAMA3_SPLIT)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token="<|end_of_text|>")


def gpt2() -> PreTrainedTokenizerFast:
    """The same token is beginning, end and unknown."""
    end = "<|endoftext|>"
    tokenizer = byte_level(end)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, unk_token=end)


def merging() -> PreTrainedTokenizerFast:
    """Merges cross spaces, so the end of a prompt and a word may be one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.Fuse()
    trained(tokenizer, vocab_size=3000, special_tokens=["<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def words_only() -> PreTrainedTokenizerFast:
    """Characters outside the training text have no token."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trained(tokenizer, trainers.WordLevelTrainer, special_tokens=[*SPECIAL.values()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def processor_of(tokenizer: PreTrainedTokenizerFast, **options) -> MSERProcessor:
    return MSERProcessor(WhisperFeatureExtractor(feature_size=20), tokenizer, num_query_tokens=2, **options)


@pytest.mark.parametrize("version", PROMPTS)
@pytest.mark.parametrize("build", [llama2, llama2_class, unigram, llama3, gpt2, build_tokenizer])
def test_candidate_ids_are_those_of_the_complete_text(build: Callable, version: str):
    processor = processor_of(build(), prompt_version=version)
    tokenizer, prompt = processor.tokenizer, PROMPTS[version]
    for word, ids in zip(WORDS, processor.candidate_ids(WORDS), strict=True):
        text = f"{prompt} {word}"
        encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        # Tokens after the prompt.
        starts = [start for start, _ in encoding["offset_mapping"]]
        after = [one for one, start in zip(encoding["input_ids"], starts, strict=True) if start >= len(prompt)]
        assert ids == [*after, tokenizer.eos_token_id], (word, tokenizer.convert_ids_to_tokens(ids))
        prefix = processor.encode_text(1)["input_ids"][0].tolist()
        assert processor.decode([*prefix, *ids]) == text


@pytest.mark.parametrize("build", [llama2, llama2_class, unigram, llama3, gpt2, build_tokenizer])
def test_labels_candidates_and_parsing_share_word_tokens(build: Callable):
    processor = processor_of(build())
    clips = [0.1 * np.random.default_rng(0).standard_normal(4000).astype(np.float32)] * len(WORDS)
    labels = processor(audio=clips, emotion=WORDS)["labels"]
    candidates = processor.candidate_ids(WORDS)
    assert [row[row != -100].tolist() for row in labels] == candidates
    decoded = processor.batch_decode([[*ids, processor.tokenizer.pad_token_id] for ids in candidates])
    assert decoded == WORDS
    assert processor.parse_emotions(decoded[:-1], WORDS) == WORDS[:-1]  # an emoji is not parsed


@pytest.mark.parametrize("build", [llama3, gpt2, build_tokenizer])
def test_byte_level_candidate_ids_equal_those_of_the_word_alone(build: Callable):
    processor = processor_of(build())
    for prompt in (*PROMPTS.values(), "Emotion:", "Emotion: ", "Say it\n"):
        alone = [processor.tokenizer.encode(f" {word}", add_special_tokens=False) for word in WORDS]
        eos = processor.tokenizer.eos_token_id
        assert processor.candidate_ids(WORDS, prompt) == [[*ids, eos] for ids in alone]


def test_encode_text_checks_each_word_after_its_own_prompt():
    """The tokenizer merges the word with the end of one prompt and not of the other."""
    processor = processor_of(merging())
    inputs = processor.encode_text(2, ["happy", "sad"], ["x", "x"])
    labels = [row[row != -100].tolist() for row in inputs["labels"]]
    assert labels == processor.candidate_ids(["happy", "sad"], "x")
    with pytest.raises(ValueError, match="one word:"):
        processor.encode_text(2, ["happy", "happy"], ["x", "one word:"])


@pytest.mark.parametrize(
    ("build", "word", "named"), [(merging, "happy", "prompt_version"), (words_only, "愤怒", "愤怒")]
)
def test_candidate_ids_rejects_words_without_own_tokens(build: Callable, word: str, named: str):
    with pytest.raises(ValueError, match=named):
        processor_of(build()).candidate_ids([word])
