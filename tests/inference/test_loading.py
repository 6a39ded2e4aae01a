# SPDX-License-Identifier: Apache-2.0
"""Load a trained model, or report why it cannot be loaded."""

import shutil

import pytest
import torch

from mser_llm.inference.loading import ModelNotFoundError, load_model, pick_device
from mser_llm.io.errors import InputError


def test_load_model_returns_a_model_ready_to_predict(tiny_model_dir, tiny):
    model, processor = load_model(str(tiny_model_dir), "cpu")
    assert not model.training
    assert processor.prompt_version == "v1"
    expected = tiny[0].state_dict()
    loaded = model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_load_model_takes_a_prompt_version(tiny_model_dir):
    assert load_model(str(tiny_model_dir), "cpu", prompt="v3")[1].prompt_version == "v3"
    with pytest.raises(ValueError, match="v9"):
        load_model(str(tiny_model_dir), "cpu", prompt="v9")


@pytest.mark.parametrize("content", ['{"model_type": "whisper"}', "{", "[]", ""])
def test_load_model_rejects_other_types_and_damaged_configurations(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelNotFoundError, match="whisper" if "whisper" in content else "JSON") as caught:
        load_model(str(tmp_path))
    assert caught.value.source == str(tmp_path / "config.json")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n"


@pytest.mark.parametrize(
    ("file", "damage", "problem"),
    [
        ("model.safetensors", lambda content: POINTER, "git lfs pull"),
        ("model.safetensors", lambda content: content[:-1000], "bytes"),
        ("tokenizer.json", lambda content: content[:300], "bytes"),
        ("config.json", lambda content: content.replace(b'"emotion_words": [', b'"emotion_words": [4,'), "bytes"),
        ("config.json", lambda content: content.replace(b"happy", b"sappy"), "modified"),
    ],
)
def test_load_model_names_a_damaged_file(tiny_model_dir, tmp_path, file, damage, problem):
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    content = (tmp_path / "model" / file).read_bytes()
    (tmp_path / "model" / file).write_bytes(damage(content))
    with pytest.raises(ValueError, match=f"{tmp_path / 'model' / file}.*{problem}"):
        load_model(str(tmp_path / "model"), "cpu")


def test_load_model_names_a_folder_without_weights(tiny_model_dir, tmp_path):
    for path in tiny_model_dir.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=str(tmp_path)):
        load_model(str(tmp_path), "cpu")


def test_pick_device_rejects_devices_that_torch_cannot_use():
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in ("cpu", "cuda", "mps")
    for name in ("abacus", "meta"):
        with pytest.raises(InputError) as caught:
            pick_device(name)
        assert caught.value.source == f"device '{name}'"
