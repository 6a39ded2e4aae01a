# SPDX-License-Identifier: Apache-2.0
"""Build the project's own tokenizer, for language models trained from scratch."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from processing_mser import EMOTIONS, PROMPTS


SPECIAL_TOKENS = {
    "pad_token": "<|pad|>",
    "bos_token": "<|begin_of_text|>",
    "eos_token": "<|end_of_text|>",
}
AUDIO_TOKEN = "<|audio|>"


def build_tokenizer(words: Sequence[str] = EMOTIONS) -> PreTrainedTokenizerFast:
    """
    Train a byte-level BPE tokenizer on the prompts and the emotion words.

    Other text is encoded as bytes, as in LLaMA 3's tokenizer, so that any candidate label can be encoded.

    Args:
        words: emotion words that become single tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=[*SPECIAL_TOKENS.values(), AUDIO_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [*PROMPTS.values(), *(f" {word}" for word in words)]
    # Each text occurs twice, which is enough to learn all of its merges.
    tokenizer.train_from_iterator(texts * 2, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **SPECIAL_TOKENS, additional_special_tokens=[AUDIO_TOKEN], padding_side="left"
    )
