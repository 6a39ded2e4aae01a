# SPDX-License-Identifier: Apache-2.0
"""A damaged checkpoint or backbone never changes a prediction without an error.

A saved checkpoint and its backbones are mutated at random and loaded. Each mutation must give the same probabilities,
or a `ValueError` or `OSError` that names the file.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from modeling_mser import MSERForEmotionGeneration, WhisperForEmotionClassification
from mser_llm.inference.loading import load_model
from mser_llm.inference.tokenizer import build_tokenizer
from processing_mser import EmotionClassifierProcessor, MSERProcessor


WORDS = ["neutral", "happy", "sad", "angry"]
BACKBONES = {"over backbones": ("whisper", "llama"), "self-contained": (), "classifier": ("whisper",)}
# The installed package loads the checkpoint, so its code is not read; neither are the Markdown files.
IGNORED_SUFFIXES = (".py", ".md")


def build(folder: Path, seed: int) -> None:
    """Save two backbones, a model that refers to them, one that contains them in shards, and a classifier."""
    torch.manual_seed(seed)
    processor = MSERProcessor(WhisperFeatureExtractor(feature_size=8), build_tokenizer(), num_query_tokens=2)
    tokenizer = processor.tokenizer
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    whisper = WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=8, vocab_size=60,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    WhisperForConditionalGeneration(whisper).save_pretrained(folder / "whisper")
    llama = LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=len(tokenizer), **special,
    )  # fmt: skip
    LlamaForCausalLM(llama).save_pretrained(folder / "llama", max_shard_size="20KB")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = MSERForEmotionGeneration.from_backbones(
        str(folder / "whisper"), str(folder / "llama"), qformer_config=sizes, num_query_tokens=2,
        audio_token_id=processor.audio_token_id, encoder_layers="weighted",
    )  # fmt: skip
    # Damage may have no effect on the symmetric initial weights.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter) * parameter.requires_grad)
    for name, include in (("over backbones", False), ("self-contained", True)):
        model.save_pretrained(folder / name, include_backbones=include, max_shard_size="30KB")
        processor.save_pretrained(folder / name)
    classifier = WhisperForEmotionClassification.from_backbones(
        str(folder / "whisper"), emotion_words=WORDS, max_seconds=2.0
    )
    classifier.save_pretrained(folder / "classifier")
    EmotionClassifierProcessor(WhisperFeatureExtractor(feature_size=8), WORDS, 2.0).save_pretrained(
        folder / "classifier"
    )


def probabilities(model: Path) -> np.ndarray:
    """Load a model like every command and return the probabilities of four words for a clip."""
    network, processor = load_model(str(model), "cpu")
    clip = np.random.default_rng(7).standard_normal(16000).astype(np.float32)
    scores = network.score_emotions(**processor(audio=[clip]), candidate_ids=processor.candidate_ids(WORDS))
    return scores.softmax(-1).detach().numpy()


# Each mutation takes the content of a file and of another file, and returns new content.


def flip_bit(content: bytes, other: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def flip_many_bits(content: bytes, other: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(2, 50)):
        content = flip_bit(content, other, chance)
    return content


def zero_block(content: bytes, other: bytes, chance: random.Random) -> bytes:
    size = chance.randint(1, len(content))
    start = chance.randrange(len(content) - size + 1)
    return content[:start] + bytes(size) + content[start + size :]


def edit(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Change or delete a value in a JSON file, or in the header of a safetensors file."""
    size = int.from_bytes(content[:8], "little") if content[8:9] == b"{" else None
    tree = json.loads(content if size is None else content[8 : 8 + size])
    places = list(_places(tree))
    if not places:
        return content + b"\n"
    parent, key = chance.choice(places)
    if chance.random() < 0.2:
        del parent[key]
    else:
        parent[key] = chance.choice(_other_values(parent[key]))
    text = json.dumps(tree).encode()
    return text if size is None else len(text).to_bytes(8, "little") + text + content[8 + size :]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, (dict, list)) and len(value) < 1000:
            yield from _places(value)


def _other_values(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value, None]
    if isinstance(value, (int, float)):
        return [value + 1, value * 2 + 1, -value - 1, 0 if value else 1, None, str(value)]
    if isinstance(value, str):
        return [value + "x", value[1:] + "y", None, 3]
    return [None, [], {}, 1]


MUTATIONS: dict[str, Callable[[bytes, bytes, random.Random], bytes | None]] = {
    "one bit flipped": flip_bit,
    "several bits flipped": flip_many_bits,
    "truncated": lambda content, other, chance: content[: chance.randrange(len(content))],
    "extended": lambda content, other, chance: content + chance.randbytes(chance.randint(1, 64)),
    "block zeroed": zero_block,
    "JSON value edited": edit,
    "file of another model": lambda content, other, chance: other,
    "other file of this model": lambda content, other, chance: other,
    "deleted": lambda content, other, chance: None,
    "added": lambda content, other, chance: other,
}
ADDED = (
    *("preprocessor_config.json", "adapter_config.json", "added_tokens.json", "special_tokens_map.json"),
    *("chat_template.jinja", "model.safetensors", "model.safetensors.index.json", "tokenizer.model", "vocab.json"),
)


def write(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(content)


def outcome(model: Path, expected: np.ndarray, name: str) -> str:
    """Return `identical` or `error`, else what is wrong."""
    try:
        found = probabilities(model)
    except (ValueError, OSError) as error:
        return "error" if name in str(error) else f"file not named: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "identical" if np.array_equal(found, expected) else f"silent change by {np.abs(found - expected).max():.3g}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damage_never_changes_a_prediction_silently(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    build(first, 0)
    build(second, 1)
    expected = {name: probabilities(first / name) for name in BACKBONES}
    chance = random.Random(2503)
    outcomes: dict[str, Counter] = defaultdict(Counter)
    for number in range(20 * len(MUTATIONS)):
        kind = list(MUTATIONS)[number % len(MUTATIONS)]
        model = chance.choice(list(BACKBONES))
        place = first / chance.choice([model, *BACKBONES[model]])
        files = sorted(path for path in place.iterdir() if path.suffix not in IGNORED_SUFFIXES)
        file = chance.choice([one for one in files if kind != "JSON value edited" or one.suffix != ".txt"])
        other = chance.choice(files) if kind == "other file of this model" else second / place.name / file.name
        if kind == "added":
            file, other = place / chance.choice([name for name in ADDED if not (place / name).exists()]), file
        before = file.read_bytes() if file.exists() else None
        write(file, MUTATIONS[kind](before or b"", other.read_bytes(), chance))
        found = outcome(first / model, expected[model], file.name)
        write(file, before)
        assert found in ("identical", "error"), f"{number}: {kind}, {file.relative_to(first)} of {model}: {found}"
        outcomes[kind][found] += 1
    assert all(counts["error"] > 0 for counts in outcomes.values()), outcomes
