# SPDX-License-Identifier: Apache-2.0
"""`MSERProcessor`: order of tokens, features independent of the batch, saving and loading."""

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

from mser_llm.inference.tokenizer import build_tokenizer
from processing_mser import EMOTIONS, PROMPTS, AudioError, AudioTooLongError, MSERProcessor


RATE = 16_000
K = 3
LLAMA_RESERVED = "<|reserved_special_token_0|>"


def extractor() -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=20)


def make(tokenizer: PreTrainedTokenizerFast | None = None, **kwargs) -> MSERProcessor:
    return MSERProcessor(extractor(), tokenizer or build_tokenizer(), num_query_tokens=K, **kwargs)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def byte_tokenizer(*added: str, adds_bos: bool = False, **special: str) -> PreTrainedTokenizerFast:
    """Build a tokenizer with one token per byte and the added tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*special.values(), *added])
    if adds_bos:
        bos = special["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def without_special(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_sequence_order_and_labels_of_the_emotion_only():
    processor = make()
    tokenizer = processor.tokenizer
    inputs = processor(audio=[noise(8000)], emotion=["sad"])
    prompt, label_ids = without_special(tokenizer, PROMPTS["v1"]), without_special(tokenizer, " sad")
    audio_id = tokenizer.get_vocab()["<|audio|>"]
    expected = [tokenizer.bos_token_id, *[audio_id] * K, *prompt, *label_ids, tokenizer.eos_token_id]
    assert inputs["input_ids"].tolist() == [expected]
    target = [*label_ids, tokenizer.eos_token_id]
    assert inputs["labels"].tolist() == [[-100] * (len(expected) - len(target)) + target]
    assert inputs["attention_mask"].tolist() == [[1] * len(expected)]
    question = processor(audio=[noise(8000)])
    assert question["input_ids"].tolist() == [expected[: -len(target)]]
    assert "labels" not in question


def test_padding_is_right_with_an_emotion_and_left_without():
    processor = make()
    tokenizer, clips = processor.tokenizer, [noise(8000), noise(9000)]
    short, long = processor.candidate_ids(["sad", "very, very tired"])
    assert len(short) < len(long)
    inputs = processor(audio=clips, emotion=["sad", "very, very tired"])
    gap = len(long) - len(short)
    assert inputs["attention_mask"].tolist()[0][-gap:] == [0] * gap
    assert inputs["input_ids"].tolist()[0][-gap:] == [tokenizer.pad_token_id] * gap
    assert inputs["labels"].tolist()[0][-gap - len(short) :] == short + [-100] * gap
    assert inputs["labels"].tolist()[1][-len(long) :] == long

    prompts = ["Sad?", "How does the speaker feel?"]
    prompt_ids = [without_special(tokenizer, prompt) for prompt in prompts]
    inputs = processor(audio=clips, prompt=prompts)
    gap = len(prompt_ids[1]) - len(prompt_ids[0])
    assert gap > 0
    start = [tokenizer.bos_token_id, *[processor.audio_token_id] * K]
    short, long = (start + ids for ids in prompt_ids)
    assert inputs["input_ids"].tolist() == [[tokenizer.pad_token_id] * gap + short, long]
    assert inputs["attention_mask"].tolist()[0] == [0] * gap + [1] * len(short)


def test_padding_side_can_be_chosen():
    processor, clips = make(), [noise(8000), noise(8000)]
    left = processor(audio=clips, emotion=["sad", "very tired"], padding_side="left")
    right = processor(audio=clips, emotion=["sad", "very tired"])
    gap = int((right["attention_mask"] == 0).sum())
    assert gap > 0
    for name in ("input_ids", "attention_mask", "labels"):
        assert torch.equal(left[name][0], right[name][0].roll(gap)), name
        assert torch.equal(left[name][1], right[name][1]), name
    right = processor(audio=clips, prompt=["Sad?", "How does it sound?"], padding_side="right")
    assert right["attention_mask"][0, -1] == 0 and right["attention_mask"][:, 0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="middle"):
        processor(audio=clips, padding_side="middle")


def test_custom_prompt_applies_to_all_rows_or_per_row():
    processor, clips = make(), [noise(8000), noise(8000)]
    one = processor(audio=clips, prompt="Sad?", emotion=["sad", "sad"])
    each = processor(audio=clips, prompt=["Sad?", "Sad?"], emotion=["sad", "sad"])
    assert torch.equal(one["input_ids"], each["input_ids"])
    assert processor.decode(one["input_ids"][0]) == "Sad? sad"
    with pytest.raises(ValueError, match="3 values of prompt for 2"):
        processor(audio=clips, prompt=["a", "b", "c"])
    with pytest.raises(ValueError, match="1 values of emotion for 2"):
        processor(audio=clips, emotion="sad")


@pytest.mark.parametrize("version", PROMPTS)
def test_prompt_version_selects_the_template(version: str):
    original = make()
    for processor in (make(prompt_version=version), original.with_prompt(version)):
        assert processor.decode(processor(audio=noise(8000))["input_ids"][0]) == PROMPTS[version]
    assert original.prompt_version == "v1"


def test_sampling_rate_applies_to_arrays_and_tensors_only():
    processor, slow = make(), noise(12000)
    resampled = processor(audio=[slow, torch.from_numpy(slow)], sampling_rate=8000)
    expected = processor(audio={"array": slow, "sampling_rate": 8000})
    for row in range(2):
        assert torch.equal(resampled["input_features"][row], expected["input_features"][0])
    own = {"array": noise(16000), "sampling_rate": 16000}
    slower, plain = processor(audio=own, sampling_rate=8000), processor(audio=own)
    assert torch.equal(slower["input_features"], plain["input_features"])


def test_processor_rejects_unknown_arguments():
    processor = make()
    with pytest.raises(ValueError, match="truncation, max_length"):
        processor(audio=noise(8000), truncation=True, max_length=10)
    with pytest.raises(ValueError, match="return_tensors='np'"):
        processor(audio=noise(8000), return_tensors="np")
    with pytest.raises(ValueError, match="audio"):
        processor(emotion="sad")
    for name, value in (("prompt_version", "v9"), ("pad_to", "10s")):
        with pytest.raises(ValueError, match=f"{name}.*{value}"):
            make(**{name: value})


def test_sequence_without_bos_starts_with_the_audio():
    processor = make(byte_tokenizer(eos_token="<|im_end|>", pad_token="<|pad|>"))
    inputs = processor(audio=noise(8000), emotion="sad")
    ids = inputs["input_ids"][0].tolist()
    assert ids[: K + 1] == [processor.audio_token_id] * K + without_special(processor.tokenizer, "W")
    assert ids[-1] == processor.tokenizer.get_vocab()["<|im_end|>"]


def test_tokenizer_without_padding_pads_with_eos():
    tokenizer = byte_tokenizer(bos_token="<s>", eos_token="</s>")
    assert tokenizer.pad_token is None
    processor = make(tokenizer)
    inputs = processor(audio=[noise(8000)] * 2, emotion=["sad", "angry"])
    eos = tokenizer.get_vocab()["</s>"]
    assert inputs["input_ids"][0, -3:].tolist() == [eos] * 3
    # The first ends the word, the other two are padding.
    assert inputs["labels"][0, -3:].tolist() == [eos, -100, -100]
    assert inputs["attention_mask"][0, -3:].tolist() == [1, 0, 0]


def test_llama_3_uses_its_first_reserved_token_for_audio():
    reserved = [LLAMA_RESERVED, "<|reserved_special_token_1|>"]
    tokenizer = byte_tokenizer(*reserved, adds_bos=True, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>")
    size = len(tokenizer)
    processor = make(tokenizer)
    assert processor.audio_token == LLAMA_RESERVED
    assert len(processor.tokenizer) == size
    ids = processor(audio=noise(8000), emotion="sad")["input_ids"][0].tolist()
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    assert ids[1 : K + 1] == [tokenizer.get_vocab()[LLAMA_RESERVED]] * K
    assert make(tokenizer, audio_token=reserved[1]).audio_token_id == tokenizer.get_vocab()[reserved[1]]


def test_tokenizer_without_placeholder_gets_one():
    tokenizer = byte_tokenizer(bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    size = len(tokenizer)
    processor = make(tokenizer)
    assert len(processor.tokenizer) == size + 1
    assert processor.audio_token_id == size
    assert processor.decode([processor.audio_token_id]) == ""


@pytest.mark.parametrize(("words", "invalid"), [("sad", "'sad'"), (["sad", None], "None"), (["sad", " "], "' '")])
def test_candidate_ids_and_emotions_must_be_words(words, invalid: str):
    with pytest.raises(ValueError, match=invalid):
        make().candidate_ids(words)
    if isinstance(words, list):
        with pytest.raises(ValueError, match=invalid):
            make()(audio=[noise(8000)] * 2, emotion=words)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_change_features(dtype: torch.dtype):
    processor, clips = make(), [noise(8000)]
    expected = processor(audio=clips)["input_features"]
    with torch.autocast("cpu", dtype=dtype):
        features = processor(audio=clips)["input_features"]
    assert torch.equal(features, expected)


def test_own_tokenizer_has_one_token_per_emotion():
    processor = make()
    assert all(len(ids) == 2 for ids in processor.candidate_ids(EMOTIONS))


def test_own_tokenizer_decodes_any_text_unchanged():
    tokenizer = build_tokenizer()
    rng = random.Random(0)
    # All of Unicode except surrogates; the first ranges are drawn more often than their size.
    ranges = [(0x20, 0x7E), (0x00, 0x2FF), (0x370, 0x6FF), (0x700, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
    texts = ["", " ", "  a  b ", "it 's , not .", "a\r\n\tb\x00", "e\u0301", *PROMPTS.values()]
    for _ in range(300):
        low, high = rng.choice(ranges)
        texts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 40))))
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text, repr(text)
        assert not set(ids) & set(tokenizer.all_special_ids), repr(text)


@pytest.mark.parametrize("samples", [1600, 1759, 1760, 16000, 31773, 31840, 479_999, 480_000])
def test_features_of_a_clip_do_not_depend_on_its_batch(samples: int):
    processor, clip = make(), noise(samples)
    alone = processor(audio=[clip])
    assert alone["input_features"].shape == (1, 20, samples // 160)
    assert alone["input_features_mask"].all()
    stock = extractor()(clip, sampling_rate=RATE, padding="longest", truncation=False, return_tensors="pt")
    assert torch.equal(alone["input_features"], stock["input_features"])
    for mates in ([5000], [33333, 2000, 60001]):
        batch = processor(audio=[*(noise(mate, seed=mate) for mate in mates), clip])
        counts = [length // 160 for length in (*mates, samples)]
        assert batch["input_features_mask"].dtype == torch.bool
        assert batch["input_features_mask"].sum(-1).tolist() == counts
        assert batch["input_features"].shape == (len(counts), 20, max(counts))
        assert torch.equal(batch["input_features"][-1, :, : samples // 160], alone["input_features"][0])
        assert not batch["input_features"][-1, :, samples // 160 :].any()
        assert not batch["input_features_mask"][-1, samples // 160 :].any()


def test_pad_to_30_s_equals_stock_whisper_and_never_cuts(tmp_path: Path):
    processor = make(pad_to="30s")
    clips = [noise(1600), noise(31_773), noise(480_000)]
    inputs = processor(audio=clips)
    stock = extractor()(clips, sampling_rate=RATE, return_tensors="pt")["input_features"]
    assert stock.shape == (3, 20, 3000) and torch.equal(inputs["input_features"], stock)
    assert inputs["input_features_mask"].shape == (3, 3000) and inputs["input_features_mask"].all()
    with pytest.raises(AudioTooLongError, match=r"30\.0 s"):
        processor(audio=[noise(8000), noise(480_001)])
    soundfile.write(tmp_path / "long.wav", noise(31 * 8000), 8000)
    with pytest.raises(AudioTooLongError, match=r"long\.wav.*31\.0 s"):
        make()(audio=str(tmp_path / "long.wav"))
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), RATE)
    with pytest.raises(AudioError, match=r"silent\.wav"):
        make()(audio=(noise(8000), tmp_path / "silent.wav"))


def test_saved_processor_gives_equal_inputs(tmp_path: Path):
    tokenizer = byte_tokenizer(bos_token="<s>", eos_token="</s>")
    processor = MSERProcessor(extractor(), tokenizer, num_query_tokens=5, prompt_version="v3", pad_to="30s")
    processor.save_pretrained(tmp_path)
    loaded = MSERProcessor.from_pretrained(tmp_path)
    assert (loaded.num_query_tokens, loaded.prompt_version, loaded.pad_to) == (5, "v3", "30s")
    assert loaded.audio_token_id == processor.audio_token_id
    assert len(loaded.tokenizer) == len(processor.tokenizer)
    assert loaded.tokenizer.pad_token == "</s>"
    clips, emotions = [noise(8000), noise(31_773)], ["sad", "très étonné"]
    before, after = processor(audio=clips, emotion=emotions), loaded(audio=clips, emotion=emotions)
    assert set(before) == set(after)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    assert set(processor(audio=clips)) == set(processor.model_input_names)
