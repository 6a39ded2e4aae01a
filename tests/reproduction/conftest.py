# SPDX-License-Identifier: Apache-2.0
"""Recipes and speech for tables that take seconds."""

from pathlib import Path

import pytest
import torch
import yaml
from tone_corpus import write_tones
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from run_mser import main


# Models with a few thousand weights, as in tests/recipe.yaml, trained for a few steps.
TINY = Path(__file__).parents[1] / "recipe.yaml"
SHAPE = {"audio_config", "qformer_config", "text_config", "num_query_tokens", "encoder_layers"}


@pytest.fixture(scope="session")
def tiny_recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `stage1.yaml` and `stage2.yaml`."""
    folder = tmp_path_factory.mktemp("recipes")
    recipe = yaml.safe_load(TINY.read_text(encoding="utf-8")) | {"num_train_epochs": 1, "validation_fraction": 0}
    recipe |= {"load_best_model_at_end": False, "logging_steps": 1}
    second = {key: value for key, value in recipe.items() if key not in SHAPE} | {"stage2_mix": "add"}
    for name, content, stage in (("stage1", recipe, "1"), ("stage2", second, "2")):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content | {"stage": stage}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def trained_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two English and two Polish speakers."""
    languages = {"s0": "en", "s1": "en", "s2": "pl", "s3": "pl"}
    return write_tones(tmp_path_factory.mktemp("trained_speech"), languages, takes=1)


@pytest.fixture(scope="session")
def tested_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three German speakers."""
    languages = {"t0": "de", "t1": "de", "t2": "de"}
    return write_tones(tmp_path_factory.mktemp("tested_speech"), languages, takes=1, seed=1)


@pytest.fixture(scope="session")
def table2_command(
    tiny_recipes: Path, trained_speech: Path, tested_speech: Path, tmp_path_factory: pytest.TempPathFactory
):
    """Return a function that returns the arguments of a table in a folder, with further flags."""
    cache = tmp_path_factory.mktemp("features")

    def words(folder: Path, *flags: str, tested: Path = tested_speech) -> list[str]:
        given = ["--corpora", f"folder={trained_speech}", "--test", f"folder={tested}", "--recipe", str(tiny_recipes)]
        given += ["--labels", "neutral,happy,sad,angry", "--output_dir", str(folder), "--seeds", "0"]
        return ["reproduce", "table2", *given, "--cache_dir", str(cache), *flags]

    return words


@pytest.fixture(scope="session")
def finished_table2(table2_command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished table; tests that change it restore it."""
    folder = tmp_path_factory.mktemp("finished") / "table2"
    assert main(table2_command(folder)) == 0
    return folder


@pytest.fixture(scope="session")
def base_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder in place of `MSER_BACKBONES` of the base recipes."""
    folder = tmp_path_factory.mktemp("backbones")
    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    unused = {"decoder_layers": 1, "decoder_attention_heads": 2, "vocab_size": 8}
    shape = WhisperConfig(**sizes, **special, **unused, num_mel_bins=20, init_std=0.3)
    WhisperModel(shape).save_pretrained(folder / "whisper-base-encoder")
    WhisperFeatureExtractor(feature_size=20).save_pretrained(folder / "whisper-base-encoder")
    return folder


@pytest.fixture(scope="session")
def many_speakers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four English speakers and ten Polish ones, with four clips each."""
    languages = {f"e{number}": "en" for number in range(4)} | {f"p{number}": "pl" for number in range(10)}
    return write_tones(tmp_path_factory.mktemp("many_speakers"), languages, takes=1)
