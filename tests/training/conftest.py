# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the training tests."""

from pathlib import Path

import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import ARGUMENTS
from mser_llm.data.read_corpus import read_corpus
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.run_training import train
from mser_llm.training.trainer import MSERTrainer


@pytest.fixture
def recipe_of():
    """Return a function that returns the model section of one of the project's recipes."""

    def read(name: str, *flags: str) -> ModelArguments:
        _, model, *_ = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses([name, *flags])
        return model

    return read


@pytest.fixture(scope="session")
def rows(tones: Path) -> list[dict]:
    return read_corpus("folder", tones).rows


@pytest.fixture(scope="session")
def first_stage(rows: list[dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the tests' recipe for one step; tests must not change the folder."""
    folder = tmp_path_factory.mktemp("stage")
    words = [str(Path(__file__).parents[1] / "recipe.yaml"), "--max_steps", "1", "--num_train_epochs", "1"]
    words += ["--output_dir", str(folder / "first"), "--cache_dir", str(folder / "cache")]
    train(rows, *MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses(words)[1:])
    return folder / "first"


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved encoder of three layers with its feature extractor."""
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    shape = WhisperConfig(
        d_model=16, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=20, init_std=0.3,
        decoder_layers=1, decoder_attention_heads=2, vocab_size=8, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1, dropout=0.1,
    )  # fmt: skip
    WhisperModel(shape).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=20).save_pretrained(folder)
    return folder


class Interrupted(Exception):
    """Interrupt a training like a signal."""


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch):
    """Return a function that trains and is interrupted before a step."""
    original = MSERTrainer.training_step

    def run(step: int, *given) -> None:
        def training_step(self: MSERTrainer, *args, **kwargs):
            if self.state.global_step == step:
                raise Interrupted
            return original(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(MSERTrainer, "training_step", training_step)
            with pytest.raises(Interrupted):
                train(*given)

    return run
