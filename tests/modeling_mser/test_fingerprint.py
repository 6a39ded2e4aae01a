# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of weight files: equal for the same weights however they are stored, and cheap for large ones."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

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
    assert len(recorded["sha256"]) == 1
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
    assert told == f"1 of its 4 tensors hold other values, {name} among them"
    changed = weights | {name: torch.full_like(weights[name], torch.nan)}
    assert name in fingerprint_difference(recorded, written(tmp_path / "c", changed))


def test_other_names_or_shapes_are_told(weights, tmp_path: Path):
    recorded = backbone_fingerprint(written(tmp_path / "a", weights))
    more = weights | {"model.more": torch.zeros(3)}
    assert fingerprint_difference(recorded, written(tmp_path / "b", more)) == "its tensors have other names or shapes"
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
    assert "files are others" in fingerprint_difference(recorded, weight_files(str(tmp_path)))


def test_sixteen_gigabytes_cost_no_reading(tmp_path: Path):
    rows, columns, count = 16384, 16384, 32
    size = rows * columns * 2
    header = {
        f"model.layers.{index}.weight": {
            "dtype": "BF16",
            "shape": [rows, columns],
            "data_offsets": [index * size, (index + 1) * size],
        }
        for index in range(count)
    }
    text = json.dumps(header).encode()
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + count * size)  # a hole: takes no room on the disk
    assert (tmp_path / "model.safetensors").stat().st_size > 16 * 2**30
    before = Path("/proc/self/io").read_text() if Path("/proc/self/io").exists() else ""
    fingerprint = backbone_fingerprint(weight_files(str(tmp_path)))
    assert set(fingerprint) == {"tensors", "samples"}
    if before:
        read = [int(dict(line.split(": ") for line in io.splitlines())["rchar"]) for io in (before, _io())]
        assert read[1] - read[0] < 2**24
    assert len(json.dumps(fingerprint)) < 2000


def _io() -> str:
    return Path("/proc/self/io").read_text()


def test_a_folder_without_weights_is_an_error(tmp_path: Path):
    with pytest.raises(OSError, match="holds no weights"):
        weight_files(str(tmp_path))
