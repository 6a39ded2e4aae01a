# SPDX-License-Identifier: Apache-2.0
"""Push a model with backbones: the trained parts, the adapters alone, or everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loopback_hub.cards import front_matter, metadata_errors
from loopback_hub.repositories import Blob, Repo
from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig, WhisperForConditionalGeneration

from mser_llm.inference.tokenizer import build_tokenizer


pytest.importorskip("peft")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
# In a separate process, because clients read HF_ENDPOINT on import.
SESSION = """
import copy, json, sys
from pathlib import Path
import numpy as np, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, WhisperFeatureExtractor
from modeling_mser import MSERForEmotionGeneration, save_for_hub
from processing_mser import MSERProcessor
from mser_llm.hub.push import push
from mser_llm.inference.tokenizer import build_tokenizer

folder = Path(sys.argv[1])
output = {"errors": {}, "folder": str(folder)}
processor = MSERProcessor(WhisperFeatureExtractor(feature_size=20), build_tokenizer(), num_query_tokens=4)
words = ["happy", "sad", "angry"]
sound = {"array": 0.1 * np.random.default_rng(0).standard_normal(16000), "sampling_rate": 16000}

def build(audio, text):
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return MSERForEmotionGeneration.from_backbones(
        audio, text, qformer_config=sizes, num_query_tokens=4, audio_token_id=processor.audio_token_id,
        emotion_words=words, freeze_audio=True, freeze_text=True,
    ).eval()

def scores(model):
    candidates = processor.candidate_ids(words)
    with torch.no_grad():
        return model.score_emotions(**processor(audio=[sound]), candidate_ids=candidates)[0].tolist()

def refused(name, *arguments, **options):
    try:
        push(*arguments, **options)
    except ValueError as error:
        output["errors"][name] = str(error)

model = build("org/whisper", "org/llama")
output["plain"] = scores(model)
save_for_hub(model, processor, folder / "plain")
refused("no adapters", str(folder / "plain"), "org/none", adapter_only=True)
model.add_lora(r=2, lora_alpha=4, lora_dropout=0.0, target_modules=["q_proj", "v_proj"])
with torch.no_grad():
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            weight.normal_(std=0.5)
model.eval()
output["adapted"] = scores(model)
save_for_hub(model, processor, folder / "adapted")

push(str(folder / "adapted"), "org/adapted")
output["adapted from the Hub"] = scores(MSERForEmotionGeneration.from_pretrained("org/adapted"))
push(str(folder / "adapted"), "org/adapter", adapter_only=True)
ids = torch.arange(3, 20)[None]
language_model = AutoModelForCausalLM.from_pretrained("org/llama").eval()
with torch.no_grad():
    bare = language_model(ids).logits
    expected = model.language_model(ids).logits
    found = PeftModel.from_pretrained(language_model, "org/adapter").eval()(ids).logits
output["logits apart"] = float((found - expected).abs().max())
output["adapters change"] = float((bare - expected).abs().max())
plain = MSERForEmotionGeneration.from_pretrained(folder / "plain")
plain.language_model = PeftModel.from_pretrained(plain.language_model, "org/adapter").merge_and_unload()
output["adapter onto the model without"] = scores(plain.eval())
refused("adapter with the rest", str(folder / "adapted"), "org/none", adapter_only=True, space=True)

local = build(str(folder / "whisper"), str(folder / "llama"))
output["local"] = scores(local)
save_for_hub(local, processor, folder / "local")
refused("local", str(folder / "local"), "org/none")
local.add_lora(r=2, target_modules=["q_proj"])
save_for_hub(local, processor, folder / "local-adapted")
refused("adapter of a local one", str(folder / "local-adapted"), "org/none", adapter_only=True)
push(str(folder / "local"), "org/everything", include_backbones=True)
everything = MSERForEmotionGeneration.from_pretrained("org/everything")
output["everything"] = scores(everything)
output["places"] = [everything.config.audio_backbone, everything.config.text_backbone]
mixed = build("org/whisper", str(folder / "llama"))
mixed.freeze(text=False)
with torch.no_grad():
    mixed.language_model.lm_head.weight.mul_(2.0)
mixed.freeze(text=True)
output["trained, then frozen"] = scores(mixed)
save_for_hub(mixed, processor, folder / "mixed")
push(str(folder / "mixed"), "org/mixed")
output["trained, then frozen, from the Hub"] = scores(MSERForEmotionGeneration.from_pretrained("org/mixed"))
trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
output["trained bytes"] = sum(w.numel() * w.element_size() for n, w in model.named_parameters() if n in trained)
print(json.dumps(output))
"""


def on_the_hub(hub, repo_id, folder):
    """Create a repository with the files of a folder."""
    files = {path.name: Blob(path.read_bytes(), path.suffix == ".safetensors") for path in folder.iterdir()}
    repo = hub.repos["model", repo_id] = Repo("model", repo_id)
    repo.commit("a backbone", files)


@pytest.fixture(scope="module")
def output(loopback_hub, tmp_path_factory):
    """The output of a process that pushes and loads."""
    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(3)
    sizes = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_mel_bins": 20, "vocab_size": 60}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_layers": 2, "decoder_layers": 1}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    WhisperForConditionalGeneration(WhisperConfig(**sizes, **heads, **special)).save_pretrained(folder / "whisper")
    llama = LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=4,
        vocab_size=len(build_tokenizer()), initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(llama).save_pretrained(folder / "llama")
    for name in ("whisper", "llama"):
        on_the_hub(loopback_hub, f"org/{name}", folder / name)
    environment = {**os.environ, **loopback_hub.environment(folder / "home", token="hf_owner")}
    done = subprocess.run(
        [sys.executable, "-c", SESSION, str(folder)],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_push_names_hub_backbones_without_copying(output, loopback_hub):
    assert output["adapted"] != pytest.approx(output["plain"], abs=1e-2)
    assert output["adapted from the Hub"] == pytest.approx(output["adapted"], abs=1e-5)
    files = loopback_hub.repos["model", "org/adapted"].files
    assert len(files["model.safetensors"].data) < 1.2 * output["trained bytes"]
    config = json.loads(files["config.json"].data)
    assert (config["audio_backbone"], config["text_backbone"]) == ("org/whisper", "org/llama")
    commit = loopback_hub.repos["model", "org/llama"].commits[-1].oid
    assert config["text_backbone_revision"] == commit and config["text_backbone_fingerprint"]
    assert front_matter(files["README.md"].data.decode())["base_model"] == ["org/whisper", "org/llama"]


def test_pushed_adapters_load_with_peft(output, loopback_hub):
    assert output["adapters change"] > 0.1 and output["logits apart"] < 1e-5
    assert output["adapter onto the model without"] == pytest.approx(output["adapted"], abs=1e-4)
    files = loopback_hub.repos["model", "org/adapter"].files
    assert set(files) == {".gitattributes", "README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert json.loads(files["adapter_config.json"].data)["base_model_name_or_path"] == "org/llama"
    text = files["README.md"].data.decode()
    card = front_matter(text)
    assert metadata_errors(card) == []
    assert (card["library_name"], card["base_model"]) == ("peft", ["org/llama"]) and "pipeline_tag" not in card
    assert 'PeftModel.from_pretrained(language_model, "org/adapter")' in text and "pipeline(" not in text


def test_push_rejects_unusable_adapters(output, loopback_hub):
    errors = output["errors"]
    assert "--adapter_only" in errors["no adapters"]
    assert "/llama" in errors["adapter of a local one"]
    assert errors["adapter with the rest"].startswith("--adapter_only: ")
    assert ("model", "org/none") not in loopback_hub.repos


def test_push_rejects_or_includes_local_backbones(output, loopback_hub):
    assert "audio backbone" in output["errors"]["local"]
    assert "--include_backbones" in output["errors"]["local"]
    assert output["everything"] == pytest.approx(output["local"], abs=1e-5) and output["places"] == [None, None]
    # A backbone that was trained is in the checkpoint, wherever it came from.
    assert output["trained, then frozen"] != pytest.approx(output["local"], abs=1e-2)
    assert output["trained, then frozen, from the Hub"] == pytest.approx(output["trained, then frozen"], abs=1e-5)
    repo = loopback_hub.repos["model", "org/everything"]
    assert len(repo.files["model.safetensors"].data) > 1.2 * output["trained bytes"]


def test_push_publishes_no_local_paths(output, loopback_hub):
    here = output["folder"].encode()
    for (_, repo_id), repo in loopback_hub.repos.items():
        assert [name for name, blob in repo.files.items() if here in blob.data] == [], repo_id
