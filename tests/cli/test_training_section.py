# SPDX-License-Identifier: Apache-2.0
"""Compare the flags of a training, which are read from transformers' source, with the class."""

from dataclasses import fields

import pytest
from transformers import SchedulerType, TrainingArguments
from transformers.training_args import OptimizerNames

from mser_llm.cli.dataclass_arguments import arguments_of
from mser_llm.cli.training_section import TrainingSection, transformers_arguments
from mser_llm.training.training_arguments import MSERTrainingArguments


# A class of accelerate, which has no flag.
WITHOUT_FLAG = {"parallelism_config"}


def test_section_arguments_match_the_class():
    described, real = TrainingSection().arguments, arguments_of(MSERTrainingArguments)
    assert [*described] == [name for name in real if name not in WITHOUT_FLAG]
    for name, argument in described.items():
        assert argument.help == real[name].help
        assert (argument.is_list, argument.is_section) == (real[name].is_list, real[name].is_section), name
        assert not real[name].choices or argument.choices == real[name].choices


def test_section_defaults_match_the_class():
    real = {field.name: field.default for field in fields(TrainingArguments)}
    read = {name: argument.default for name, argument in transformers_arguments().items()}
    assert all(default in (None, getattr(real[name], "value", real[name])) for name, default in read.items())
    assert sum(default is not None for default in read.values()) > 60


def test_section_choices_match_the_enumerations():
    described = transformers_arguments()
    assert {*described["lr_scheduler_type"].choices} == {one.value for one in SchedulerType}
    assert {*described["optim"].choices} == {one.value for one in OptimizerNames}


def test_section_builds_the_class_and_checks_numbers(tmp_path):
    section = TrainingSection()
    built = section(output_dir=str(tmp_path), learning_rate=1e-3)
    assert isinstance(built, MSERTrainingArguments) and built.learning_rate == 1e-3
    with pytest.raises(ValueError, match="learning_rate"):
        section(output_dir=str(tmp_path), learning_rate=float("nan"))
