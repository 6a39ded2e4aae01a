# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of weight files: equal for the same weights in any form, different for any other weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_mser import fingerprint_mser
from modeling_mser.fingerprint_mser import backbone_fingerprint, compare_fingerprint, weight_files


def fingerprint_difference(recorded, files, ignored=()) -> str | None:
    return compare_fingerprint(recorded, files, ignored)[1]


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "model.layers.0.weight": torch.randn(32, 48),
        "model.layers.0.bias": torch.zeros(48),
        "model.layers.1.weight": torch.randn(8, 16, 3),
        "model.scale": torch.tensor(2.0),
    }


def write(path: Path, weights: dict[str, torch.Tensor]) -> list[Path]:
    path.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, path / "model.safetensors")
    return weight_files(str(path))


def test_fingerprint_ignores_precision_and_order(weights, tmp_path: Path):
    recorded = json.loads(json.dumps(backbone_fingerprint(write(tmp_path / "a", weights))))
    assert recorded["dtypes"] == ["torch.float32"]
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        other = {name: weights[name].to(dtype) for name in reversed(weights)}
        assert fingerprint_difference(recorded, write(tmp_path / str(dtype), other)) is None


@pytest.mark.parametrize(
    "name", ["model.layers.0.weight", "model.layers.0.bias", "model.layers.1.weight", "model.scale"]
)
def test_fingerprint_difference_names_the_tensor(weights, tmp_path: Path, name: str):
    recorded = backbone_fingerprint(write(tmp_path / "a", weights))
    changed = weights | {name: weights[name] * 1.02 + 1e-3}
    assert name in fingerprint_difference(recorded, write(tmp_path / "b", changed))
    changed = weights | {name: torch.full_like(weights[name], torch.nan)}
    assert name in fingerprint_difference(recorded, write(tmp_path / "c", changed))


def test_fingerprint_depends_on_names_and_shapes(weights, tmp_path: Path):
    recorded = backbone_fingerprint(write(tmp_path / "a", weights))
    more = weights | {"model.more": torch.zeros(3)}
    assert "model.safetensors" in fingerprint_difference(recorded, write(tmp_path / "b", more))
    assert fingerprint_difference(recorded, write(tmp_path / "b", more), ignored=("model.more",)) is None
    reshaped = weights | {"model.layers.0.weight": torch.zeros(48, 32)}
    assert fingerprint_difference(recorded, write(tmp_path / "c", reshaped)) is not None
    computed = weights | {"model.rotary_emb.inv_freq": torch.ones(4)}
    assert fingerprint_difference(recorded, write(tmp_path / "d", computed)) is None


def test_fingerprint_of_whisper_is_that_of_its_encoder(backbones, tmp_path: Path):
    complete = load_file(backbones[0] / "model.safetensors")
    prefix = "model.encoder."
    encoder = {name.removeprefix(prefix): value for name, value in complete.items() if name.startswith(prefix)}
    assert 0 < len(encoder) < len(complete)
    recorded = backbone_fingerprint(weight_files(str(backbones[0])))
    assert fingerprint_difference(recorded, write(tmp_path / "encoder", encoder)) is None


def test_fingerprint_of_other_formats_is_a_hash(weights, tmp_path: Path):
    torch.save(weights, tmp_path / "pytorch_model.bin")
    recorded = backbone_fingerprint(weight_files(str(tmp_path)))
    assert set(recorded) == {"sha256"}
    assert fingerprint_difference(recorded, weight_files(str(tmp_path))) is None
    torch.save({**weights, "model.scale": torch.tensor(3.0)}, tmp_path / "pytorch_model.bin")
    assert "pytorch_model.bin" in fingerprint_difference(recorded, weight_files(str(tmp_path)))


def test_fingerprint_compares_other_dtypes_by_norm_and_samples(weights, tmp_path: Path):
    recorded = backbone_fingerprint(write(tmp_path / "a", weights))
    changed = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    changed["model.layers.0.weight"][0, 0] = 3e38  # as if a bit of the exponent was flipped, outside the samples
    assert "model.layers.0.weight" in fingerprint_difference(recorded, write(tmp_path / "b", changed))


def test_fingerprint_detects_every_flipped_bit(weights, tmp_path: Path):
    recorded = backbone_fingerprint(write(tmp_path / "a", weights))
    (file,) = write(tmp_path / "b", weights)
    intact = file.read_bytes()
    begin = 8 + int.from_bytes(intact[:8], "little")
    for index, place in enumerate(range(begin, len(intact), 397)):
        content = bytearray(intact)
        content[place] ^= 1 << index % 8
        file.write_bytes(content)
        assert fingerprint_difference(recorded, [file]) is not None, place


def test_fingerprint_read_in_parallel_is_the_same(weights, tmp_path: Path, monkeypatch):
    files = write(tmp_path / "a", weights)
    sequential = backbone_fingerprint(files)
    monkeypatch.setattr(fingerprint_mser, "_THREADED_BYTES", 0)
    monkeypatch.setattr(fingerprint_mser, "_CHUNK", 100)
    assert fingerprint_difference(sequential, files) is None
    assert len(json.dumps(sequential)) < 200 + 64 * len(weights)


def test_weight_files_rejects_a_folder_without_weights(tmp_path: Path):
    with pytest.raises(OSError, match=str(tmp_path)):
        weight_files(str(tmp_path))
