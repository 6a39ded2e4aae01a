# SPDX-License-Identifier: Apache-2.0
"""Mutate 4,320 audio files at random; each must be read completely or rejected.

`pytest -s -m "" tests/processing_mser/test_damaged_audio.py` prints the number of complete, rejected and silently
shortened files of each container.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from audio_files import RATE, encoded, ogg_pages, with_id3, without_xing

from processing_mser.audio_mser import AudioError, load_audio, open_audio


PER_CONTAINER = 240
"""Mutated files."""


def containers() -> dict[str, bytes]:
    chance = np.random.default_rng(0)
    samples = chance.normal(scale=0.1, size=RATE + 123).astype(np.float32)
    mp3 = encoded(samples, "MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.5)
    return {
        "WAV": encoded(samples, "WAV", "PCM_16"),
        "WAV float": encoded(samples, "WAV", "FLOAT"),
        "FLAC": encoded(samples, "FLAC", "PCM_16"),
        "MP3": mp3,
        "MP3 VBR": encoded(samples, "MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE"),
        "MP3 large ID3": with_id3(mp3, 9000),
        "MP3 no header": without_xing(mp3),
        "Ogg Vorbis": encoded(samples, "OGG", "VORBIS"),
        "Ogg Opus": encoded(samples, "OGG", "OPUS"),
        "AIFF": encoded(samples, "AIFF", "PCM_16"),
        "AIFF-C": encoded(samples, "AIFF", "ULAW"),
        "W64": encoded(samples, "W64", "PCM_16"),
        "RF64": encoded(samples, "RF64", "PCM_16"),
        "CAF": encoded(samples, "CAF", "PCM_16"),
        "CAF ALAC": encoded(samples, "CAF", "ALAC_16"),
        "AU": encoded(samples, "AU", "PCM_16"),
        "VOC": encoded(samples, "VOC", "PCM_16"),
        "SPHERE": encoded(samples, "NIST", "PCM_16"),
    }


def pages(data: bytes) -> list[int]:
    """Positions of the Ogg pages, or of blocks of 512 bytes."""
    return ogg_pages(data) or list(range(0, len(data), 512))


def flip_bit(data: bytes, chance: np.random.Generator) -> bytes:
    place = int(chance.integers(len(data)))
    return data[:place] + bytes([data[place] ^ 1 << chance.integers(8)]) + data[place + 1 :]


def flip_header_bit(data: bytes, chance: np.random.Generator) -> bytes:
    return flip_bit(data[:128], chance) + data[128:]


def cut_end(data: bytes, chance: np.random.Generator) -> bytes:
    return data[: int(chance.integers(1, len(data)))]


def cut_few_bytes(data: bytes, chance: np.random.Generator) -> bytes:
    return data[: -int(chance.integers(1, 600))]


def cut_at_page(data: bytes, chance: np.random.Generator) -> bytes:
    return data[: int(chance.choice(pages(data)[1:]))]


def lose_block(data: bytes, chance: np.random.Generator) -> bytes:
    start, length = int(chance.integers(len(data))), int(chance.integers(1, 2000))
    return data[:start] + data[start + length :]


def lose_page(data: bytes, chance: np.random.Generator) -> bytes:
    starts = [*pages(data), len(data)]
    index = int(chance.integers(1, len(starts) - 1))
    return data[: starts[index]] + data[starts[index + 1] :]


def zero_block(data: bytes, chance: np.random.Generator) -> bytes:
    start, length = int(chance.integers(len(data))), int(chance.integers(1, 2000))
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def edit_header(data: bytes, chance: np.random.Generator) -> bytes:
    start, length = int(chance.integers(100)), int(chance.choice([1, 2, 4]))
    return data[:start] + chance.bytes(length) + data[start + length :]


MUTATIONS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    flip_bit,
    flip_header_bit,
    cut_end,
    cut_few_bytes,
    cut_at_page,
    lose_block,
    lose_page,
    zero_block,
    edit_header,
)


def outcome(data: bytes, samples: int) -> str:
    try:
        length = len(load_audio(data))
    except AudioError:
        return "rejected"
    if length == samples:
        return "complete"
    with open_audio(data) as sound:
        length = sum(map(len, sound.blocks))
        if length == samples:
            return "other rate"
    return "shortened" if length < samples else "lengthened"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # libsndfile seeks below 0
def test_damaged_files_are_read_completely_or_rejected(capsys):
    kinds = ("complete", "rejected", "other rate", "lengthened", "shortened")
    results: dict[str, Counter[str]] = {}
    shortened, lengthened = [], []
    for number, (name, data) in enumerate(containers().items()):
        expected = len(load_audio(data))
        results[name] = Counter()
        for index in range(PER_CONTAINER):
            mutation = MUTATIONS[index % len(MUTATIONS)]
            changed = mutation(data, np.random.default_rng([number, index]))
            found = outcome(changed, expected)
            results[name][found] += 1
            # An MP3 without a header may end after any frame; damaged ALAC packets are decoded at full length.
            if found == "shortened" and name != "MP3 no header":
                shortened.append(f"{name}: {mutation.__name__} {index}")
            if found == "lengthened" and name != "CAF ALAC":
                lengthened.append(f"{name}: {mutation.__name__} {index}")
    with capsys.disabled():
        print(f"\n{'container':<15}" + "".join(f"{kind:>12}" for kind in kinds))
        for name, counts in results.items():
            print(f"{name:<15}" + "".join(f"{counts[kind]:>12}" for kind in kinds))
    assert sum(map(Counter.total, results.values())) >= 1000
    assert not shortened
    assert not lengthened
