# SPDX-License-Identifier: Apache-2.0
"""A corpus of tones: six speakers, four emotions told by pitch, in two languages."""

from pathlib import Path

import pytest
from tone_corpus import write_tones

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import ARGUMENTS
from mser_llm.training.arguments import DataArguments, ModelArguments, MSERTrainingArguments


RECIPE = Path(__file__).parents[1] / "recipe.yaml"


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the reader `folder`: 72 clips of about 0.4 s and their index."""
    languages = {f"s{speaker}": "en" if speaker < 3 else "pl" for speaker in range(6)}
    return write_tones(tmp_path_factory.mktemp("tones"), languages)


@pytest.fixture
def recipe(tmp_path: Path):
    """Parses the tests' recipe with further flags."""

    def parse(*flags: str) -> tuple[ModelArguments, DataArguments, MSERTrainingArguments]:
        words = [str(RECIPE), "--output_dir", str(tmp_path / "run"), "--cache_dir", str(tmp_path / "cache"), *flags]
        _, *arguments = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses(words)
        return tuple(arguments)

    return parse


@pytest.fixture
def recipe_of():
    """The model section of one of the project's own recipes."""

    def read(name: str, *flags: str) -> ModelArguments:
        _, model, *_ = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses([name, *flags])
        return model

    return read
