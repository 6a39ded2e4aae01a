# SPDX-License-Identifier: Apache-2.0
"""Describe the flags of `MSERTrainingArguments` without importing torch, which takes seconds.

transformers' `TrainingArguments` can only be imported with torch, so its fields are read from the source file of the
installed version. The class itself is imported once the command line is known to be valid.
"""

import ast
import importlib.util
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args

from mser_llm.cli.dataclass_arguments import Argument, arguments_of, with_choices
from mser_llm.training.arguments import TRAINING_BOUNDS, MSERTrainingOptions
from mser_llm.training.number_bounds import check_numbers


if TYPE_CHECKING:
    from mser_llm.training.training_arguments import MSERTrainingArguments


_LOG_LEVELS = ("detail", "debug", "info", "warning", "error", "critical", "passive")
# What transformers.training_args computes.
_COMPUTED: dict[str, Any] = {"trainer_log_levels": dict.fromkeys(_LOG_LEVELS), "default_optim": None}
_MODULES_WITH_CHOICES = ("debug_utils", "trainer_utils", "training_args")


class TrainingSection:
    """The arguments of a training as a section of `MSERArgumentParser`."""

    @cached_property
    def arguments(self) -> dict[str, Argument]:
        return transformers_arguments() | arguments_of(MSERTrainingOptions)

    def __call__(self, **values: Any) -> "MSERTrainingArguments":
        """Build the arguments; numbers are checked before anything is imported."""
        check_numbers(values, TRAINING_BOUNDS)
        from mser_llm.training.training_arguments import MSERTrainingArguments

        return MSERTrainingArguments(**values)


def transformers_arguments() -> dict[str, Argument]:
    """Read the fields of `TrainingArguments` from the source of the installed transformers.

    Fields whose type is a class other than an enumeration of names have no flag and are left out.
    """
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None, "transformers is a dependency"
    folder = Path(spec.origin).parent
    trees = [ast.parse((folder / f"{name}.py").read_text(encoding="utf-8")) for name in _MODULES_WITH_CHOICES]
    classes = {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
    enums = {
        name: _choices(node)
        for name, node in classes.items()
        if any(ast.unparse(base) in ("Enum", "ExplicitEnum") for base in node.bases)
    }
    names = {**enums, "Any": Any, "Literal": Literal, "field": dict, **_COMPUTED}
    found = {}
    for node in classes["TrainingArguments"].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.target)
            try:
                type_, options = (eval(ast.unparse(part), names) for part in (node.annotation, node.value))
            except (NameError, TypeError):
                continue
            members = get_args(type_)
            if str in members and any(member in enums.values() for member in members):
                # `SchedulerType | str` takes the names of the enumeration only.
                type_ = Union[tuple(member for member in members if member is not str)]  # noqa: UP007 - of a variable length
            metadata = options.get("metadata", {})
            if "init" not in options:
                type_ = with_choices(type_, metadata.get("choices"))
                # A default of None only means that the help shows none.
                default, help_, const = options.get("default"), metadata.get("help"), metadata.get("const")
                found[name] = Argument(name, type_, default, help_, const=const)
    return found


def _choices(node: ast.ClassDef) -> Any:
    """The values of an enumeration as a `Literal`."""
    values = [statement.value for statement in node.body if isinstance(statement, ast.Assign)]
    return Literal[tuple(value.value for value in values if isinstance(value, ast.Constant))]
