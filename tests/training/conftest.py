# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the training tests."""

import pytest

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import ARGUMENTS
from mser_llm.training.arguments import ModelArguments


@pytest.fixture
def recipe_of():
    """Return a function that returns the model section of one of the project's recipes."""

    def read(name: str, *flags: str) -> ModelArguments:
        _, model, *_ = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses([name, *flags])
        return model

    return read
