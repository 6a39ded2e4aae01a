# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of weight files: equal for the same weights however they are stored, different for any other."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_mser import fingerprint_mser
from modeling_mser.fingerprint_mser import backbone_fingerprint, fingerprint_difference, weight_files


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "model.layers.0.weight": torch.randn(32, 48),
        "model.layers.0.bias": torch.zeros(48),
        "model.layers.1.weight": torch.randn(8, 16, 3),
        "model.scale": torch.tensor(2.0),
    }


def written(path: Path, weights: dict[str, torch.Tensor]) -> list[Path]:
    path.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, path / "model.safetensors")
    return weight_files(str(path))


def test_the_same_weights_are_the_same_in_any_precision_and_order(weights, tmp_path: Path):
    recorded = json.loads(json.dumps(backbone_fingerprint(written(tmp_path / "a", weights))))
    assert recorded["dtypes"] == ["torch.float32"]
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        other = {name: weights[name].to(dtype) for name in reversed(weights)}
        assert fingerprint_difference(recorded, written(tmp_path / str(dtype), other)) is None


@pytest.mark.parametrize(
    "name", ["model.layers.0.weight", "model.layers.0.bias", "model.layers.1.weight", "model.scale"]
)
def test_one_tensor_that_is_another_is_told(weights, tmp_path: Path, name: str):
    recorded = backbone_fingerprint(written(tmp_path / "a", weights))
    changed = weights | {name: weights[name] * 1.02 + 1e-3}
    told = fingerprint_difference(recorded, written(tmp_path / "b", changed))
    assert told == f"1 of 4 tensors hold other values, {name} in model.safetensors among them"
    changed = weights | {name: torch.full_like(weights[name], torch.nan)}
    assert name in fingerprint_difference(recorded, written(tmp_path / "c", changed))


def test_other_names_or_shapes_are_told(weights, tmp_path: Path):
    recorded = backbone_fingerprint(written(tmp_path / "a", weights))
    more = weights | {"model.more": torch.zeros(3)}
    assert "model.safetensors" in fingerprint_difference(recorded, written(tmp_path / "b", more))
    assert fingerprint_difference(recorded, written(tmp_path / "b", more), ignored=("model.more",)) is None
    reshaped = weights | {"model.layers.0.weight": torch.zeros(48, 32)}
    assert fingerprint_difference(recorded, written(tmp_path / "c", reshaped)) is not None
    computed = weights | {"model.rotary_emb.inv_freq": torch.ones(4)}
    assert fingerprint_difference(recorded, written(tmp_path / "d", computed)) is None


def test_of_a_whole_whisper_the_encoder_alone_counts(backbones, tmp_path: Path):
    whole = load_file(backbones[0] / "model.safetensors")
    prefix = "model.encoder."
    encoder = {name.removeprefix(prefix): value for name, value in whole.items() if name.startswith(prefix)}
    assert 0 < len(encoder) < len(whole)
    recorded = backbone_fingerprint(weight_files(str(backbones[0])))
    assert fingerprint_difference(recorded, written(tmp_path / "encoder", encoder)) is None


def test_files_other_than_safetensors_are_told_by_their_hash(weights, tmp_path: Path):
    torch.save(weights, tmp_path / "pytorch_model.bin")
    recorded = backbone_fingerprint(weight_files(str(tmp_path)))
    assert set(recorded) == {"sha256"}
    assert fingerprint_difference(recorded, weight_files(str(tmp_path))) is None
    torch.save({**weights, "model.scale": torch.tensor(3.0)}, tmp_path / "pytorch_model.bin")
    assert "pytorch_model.bin" in fingerprint_difference(recorded, weight_files(str(tmp_path)))


def test_another_dtype_is_compared_by_norm_and_samples(weights, tmp_path: Path):
    """The middle, of which the samples are, is as it was; the norm is not."""
    recorded = backbone_fingerprint(written(tmp_path / "a", weights))
    changed = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    changed["model.layers.0.weight"][0, 0] = 3e38  # as a flipped bit of the exponent leaves it
    assert "model.layers.0.weight" in fingerprint_difference(recorded, written(tmp_path / "b", changed))


def test_any_flipped_bit_of_the_same_dtype_is_found(weights, tmp_path: Path):
    recorded = backbone_fingerprint(written(tmp_path / "a", weights))
    (file,) = written(tmp_path / "b", weights)
    intact = file.read_bytes()
    begin = 8 + int.from_bytes(intact[:8], "little")
    for index, place in enumerate(range(begin, len(intact), 97)):
        content = bytearray(intact)
        content[place] ^= 1 << index % 8
        file.write_bytes(content)
        assert fingerprint_difference(recorded, [file]) is not None, place


def test_large_files_are_read_in_parallel_to_the_same_result(weights, tmp_path: Path, monkeypatch):
    files = written(tmp_path / "a", weights)
    alone = backbone_fingerprint(files)
    monkeypatch.setattr(fingerprint_mser, "_THREADED_BYTES", 0)
    monkeypatch.setattr(fingerprint_mser, "_CHUNK", 100)
    assert fingerprint_difference(alone, files) is None
    assert len(json.dumps(alone)) < 200 + 64 * len(weights)


def test_a_folder_without_weights_is_an_error(tmp_path: Path):
    with pytest.raises(OSError, match="holds no weights"):
        weight_files(str(tmp_path))
