# SPDX-License-Identifier: Apache-2.0
"""Digests of a checkpoint's files detect every change, and every way of saving updates them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from modeling_mser import ModifiedFilesError, MSERForEmotionGeneration
from modeling_mser.file_digests_mser import MODEL_DIGESTS, PROCESSOR_DIGESTS
from processing_mser import MSERProcessor
from processing_mser.file_digests_mser import ModifiedFilesError as ModifiedProcessorFilesError


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def load(folder: Path) -> None:
    MSERProcessor.from_pretrained(folder)
    MSERForEmotionGeneration.from_pretrained(folder)


def edit(file: Path, **values) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_modules_of_digests_are_one_file():
    copies = [ROOT / package / "file_digests_mser.py" for package in ("modeling_mser", "processing_mser")]
    assert copies[0].read_bytes() == copies[1].read_bytes()


def test_damaged_weights_are_rejected(folder: Path):
    file = folder / "model.safetensors"
    intact, weights = file.read_bytes(), load_file(file)
    half = len(intact) // 2
    for content in (
        intact[:half] + bytes(len(intact) - half),
        intact[:-1],
        intact[:half] + b"\1" + intact[half + 1 :],
    ):
        file.write_bytes(content)
        with pytest.raises(ModifiedFilesError, match=r"model\.safetensors"):
            load(folder)
    save_file({name: value.to(torch.int8) for name, value in weights.items()}, file, metadata={"format": "pt"})
    with pytest.raises(ModifiedFilesError, match=r"model\.safetensors"):
        load(folder)
    file.write_bytes(intact)
    load(folder)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"encoder_layers": "last"}),
        ("generation_config.json", {"bos_token_id": 5}),
        ("processor_config.json", {"pad_to": "30s"}),
        ("tokenizer_config.json", {"bos_token": None}),
        ("tokenizer.json", {"added_tokens": []}),
    ],
)
def test_edited_file_must_be_accepted(folder: Path, name: str, values: dict):
    edit(folder / name, **values)
    with pytest.raises(ValueError, match=name):
        load(folder)
    if name == "processor_config.json":
        with pytest.warns(match=name):
            assert MSERProcessor.from_pretrained(folder, accept_modified_files=True).pad_to == "30s"
        with pytest.warns(match=name):
            MSERProcessor.from_pretrained(folder, accept_modified_files=True).save_pretrained(folder)
    if name == "generation_config.json":
        with pytest.warns(match=name):
            AutoModel.from_pretrained(folder, accept_modified_files=True).save_pretrained(folder)
    if name in ("processor_config.json", "generation_config.json"):
        load(folder)


@pytest.mark.parametrize(
    "content", [None, "", "[]", '{"files": []}', '{"files": {"config.json": 3}}', '{"files": {}}']
)
def test_damaged_record_is_an_error(folder: Path, content: str):
    for record in (MODEL_DIGESTS, PROCESSOR_DIGESTS):
        kept = (folder / record).read_text()
        (folder / record).unlink() if content is None else (folder / record).write_text(content)
        with pytest.raises((ModifiedFilesError, ModifiedProcessorFilesError), match=record):
            load(folder)
        (folder / record).write_text(kept)


def test_unloadable_accepted_file_is_named(folder: Path):
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(ModifiedProcessorFilesError, match=r"tokenizer_config\.json"), pytest.warns():
        MSERProcessor.from_pretrained(folder, accept_modified_files=True)
    edit(folder / "config.json", audio_config=5)
    with pytest.raises(ValueError, match=r"config\.json"), pytest.warns():
        MSERForEmotionGeneration.from_pretrained(folder, accept_modified_files=True)


def test_added_and_missing_files_that_would_be_loaded_are_named(folder: Path):
    for name in ("preprocessor_config.json", "adapter_config.json", "added_tokens.json"):
        (folder / name).write_text("{}")
        with pytest.raises(ValueError, match=name):
            load(folder)
        (folder / name).unlink()
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        (folder / name).rename(folder / "elsewhere")
        with pytest.raises(ValueError, match=name):
            load(folder)
        (folder / "elsewhere").rename(folder / name)
    (folder / "README.md").write_text("# Mine\n")
    (folder / "weight_average.safetensors").write_bytes(b"x")
    load(folder)


def test_each_part_can_be_saved_alone(tiny, tmp_path: Path):
    model, processor = tiny
    processor.save_pretrained(tmp_path / "processor")
    MSERProcessor.from_pretrained(tmp_path / "processor")
    model.save_pretrained(tmp_path / "model")
    MSERForEmotionGeneration.from_pretrained(tmp_path / "model")
    # In either order, repeatedly, with and without shards.
    processor.save_pretrained(tmp_path / "model")
    first, second = (
        set(json.loads((tmp_path / "model" / record).read_text())["files"])
        for record in (MODEL_DIGESTS, PROCESSOR_DIGESTS)
    )
    assert first == {"config.json", "generation_config.json", "model.safetensors"}
    assert second == {"processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    model.save_pretrained(tmp_path / "model", max_shard_size="100KB")
    assert len(list((tmp_path / "model").glob("model-*.safetensors"))) > 1
    load(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")
    load(tmp_path / "model")


PUSH = """
import sys
from pathlib import Path
from huggingface_hub import HfApi
from modeling_mser import MSERForEmotionGeneration
from processing_mser import MSERProcessor
source, out = sys.argv[1:]
model, processor = MSERForEmotionGeneration.from_pretrained(source), MSERProcessor.from_pretrained(source)
for part in (processor, model):
    part.push_to_hub("org/pushed")
    part.save_pretrained(Path(out, "saved"), push_to_hub=True, repo_id="org/saved")
for repo_id in ("org/pushed", "org/saved"):
    MSERProcessor.from_pretrained(repo_id)
    MSERForEmotionGeneration.from_pretrained(repo_id)
HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="processor_config.json", repo_id="org/saved")
MSERProcessor.from_pretrained("org/saved")
"""


@pytest.mark.slow
def test_digests_survive_the_hub(tiny_model_dir: Path, tmp_path: Path, loopback_hub, hub_python):
    (tmp_path / "push.py").write_text(PUSH)
    done = hub_python.run(tmp_path / "push.py", tiny_model_dir, tmp_path)
    # The damaged file is the only error.
    assert done.returncode != 0 and "ModifiedFilesError: org/saved/processor_config.json" in done.stderr
    assert {MODEL_DIGESTS, PROCESSOR_DIGESTS} <= set(loopback_hub.repos["model", "org/pushed"].files)
