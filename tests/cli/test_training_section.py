# SPDX-License-Identifier: Apache-2.0
"""Compare the flags of a training, which are read from transformers' source, with the class."""

from dataclasses import fields

import pytest
from transformers import HfArgumentParser, SchedulerType, TrainingArguments
from transformers.training_args import OptimizerNames

from mser_llm.cli.dataclass_arguments import arguments_of
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.training_section import TrainingSection, transformers_arguments
from mser_llm.training.training_arguments import MSERTrainingArguments


# A class of accelerate, which has no flag.
WITHOUT_FLAG = {"parallelism_config"}


@pytest.fixture(scope="module")
def parsers() -> tuple[MSERArgumentParser, HfArgumentParser]:
    return MSERArgumentParser(TrainingSection()), HfArgumentParser(TrainingArguments)


def test_section_arguments_match_the_class():
    described, real = TrainingSection().arguments, arguments_of(MSERTrainingArguments)
    assert [*described] == [name for name in real if name not in WITHOUT_FLAG]
    for name, argument in described.items():
        assert argument.help == real[name].help
        for attribute in ("is_list", "is_section", "const"):
            assert getattr(argument, attribute) == getattr(real[name], attribute), (name, attribute)
        assert (bool in argument.members) == (bool in real[name].members), name
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


@pytest.mark.parametrize(
    "words",
    [
        *(["--bf16", word] for word in ("true", "T", "yes", "y", "1", "False", "f", "no", "N", "0")),
        *(["--bf16"], ["--no_dataloader_pin_memory"], ["--hub_private_repo", "no"]),
        *(["--fsdp"], ["--fsdp", "full_shard auto_wrap"], ["--gradient_checkpointing"]),
        *(["--optim_target_modules", "all-linear"], ["--report_to", "none"], ["--label_names", "a", "b"]),
        *(["--warmup_steps", "0.1"], ["--save_steps=7"], ["--max_steps", "-1"], ["--learning_rate", "1e-4"]),
        *(["--lr_scheduler_type", "cosine"], ["--save_strategy", "no"], ["--log_level", "info"], ["--run_name", "1"]),
    ],
    ids=" ".join,
)
def test_flags_have_the_values_of_transformers_parser(parsers, words):
    ours, stock = (vars(parser.parse_known_args(words)[0]) for parser in parsers)
    (name,) = (name for name, value in ours.items() if value is not None)
    assert ours[name] == stock[name] and type(ours[name]) is type(stock[name])


def test_section_builds_the_class_and_checks_numbers(tmp_path):
    section = TrainingSection()
    built = section(output_dir=str(tmp_path), learning_rate=1e-3)
    assert isinstance(built, MSERTrainingArguments) and built.learning_rate == 1e-3
    with pytest.raises(ValueError, match="learning_rate"):
        section(output_dir=str(tmp_path), learning_rate=float("nan"))
