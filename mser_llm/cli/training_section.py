# SPDX-License-Identifier: Apache-2.0
"""Describe the flags of `MSERTrainingArguments` without importing torch, which takes seconds.

transformers' `TrainingArguments` can only be imported with torch, so its fields are read from the source file of the
installed version. The class itself is imported once the command line is known to be valid.
"""

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import MISSING
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args

from mser_llm.cli.dataclass_arguments import Argument, arguments_of, with_choices
from mser_llm.training.arguments import TRAINING_BOUNDS, MSERTrainingOptions
from mser_llm.training.number_bounds import check_values


if TYPE_CHECKING:
    from mser_llm.training.training_arguments import MSERTrainingArguments


# As in transformers.training_args.trainer_log_levels, whose choices are computed.
_LOG_LEVELS = ("detail", "debug", "info", "warning", "error", "critical", "passive")
_MODULES_WITH_CHOICES = ("debug_utils", "trainer_utils", "training_args")


class TrainingSection:
    """The arguments of a training as a section of `MSERArgumentParser`."""

    @cached_property
    def arguments(self) -> dict[str, Argument]:
        return transformers_arguments() | arguments_of(MSERTrainingOptions)

    def __call__(self, **values: Any) -> "MSERTrainingArguments":
        """Build the arguments; numbers are checked before anything is imported.

        Raises:
            ValueError: a value is out of range or contradicts another.
        """
        check_values(values, TRAINING_BOUNDS)
        from mser_llm.training.training_arguments import MSERTrainingArguments

        return MSERTrainingArguments(**values)


def transformers_arguments() -> dict[str, Argument]:
    """Read the fields of `TrainingArguments` from the source of the installed transformers.

    Fields whose type is a class other than an enumeration of names have no flag and are left out.
    """
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None, "transformers is a dependency"
    folder = Path(spec.origin).parent
    trees = {name: ast.parse((folder / f"{name}.py").read_text(encoding="utf-8")) for name in _MODULES_WITH_CHOICES}
    classes = {node.name: node for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)}
    types: dict[str, Any] = {name: _choices(node) for name, node in classes.items() if _is_enum(node)}
    types |= {"Any": Any, "Literal": Literal}
    found = {}
    for node in classes["TrainingArguments"].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            argument = _argument(node.target.id, node, types)
            if argument is not None:
                found[argument.name] = argument
    return found


def _is_enum(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id in ("Enum", "ExplicitEnum") for base in node.bases)


def _choices(node: ast.ClassDef) -> Any:
    """The values of an enumeration as a `Literal`."""
    values = [statement.value for statement in node.body if isinstance(statement, ast.Assign)]
    return Literal[tuple(value.value for value in values if isinstance(value, ast.Constant))]


def _argument(name: str, node: ast.AnnAssign, types: Mapping[str, Any]) -> Argument | None:
    call = node.value
    if not (isinstance(call, ast.Call) and getattr(call.func, "id", None) == "field"):
        return None
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    if "init" in options:
        return None
    try:
        type_ = eval(ast.unparse(node.annotation), {**types})
    except (NameError, TypeError):
        return None
    members = get_args(type_)
    if str in members and any(member in types.values() for member in members):
        # `SchedulerType | str` takes the names of the enumeration only.
        type_ = Union[tuple(member for member in members if member is not str)]  # noqa: UP007 - of a variable length
    default, metadata = _literal(options.get("default")), options.get("metadata")
    described = dict(zip(map(_literal, metadata.keys), metadata.values)) if isinstance(metadata, ast.Dict) else {}
    choices = None
    if "choices" in described:
        choices = _LOG_LEVELS if name.startswith("log_level") else _literal(described["choices"])
    help_, const = (_literal(described[key]) if key in described else None for key in ("help", "const"))
    # What cannot be read is computed in the class itself; None only means that the help shows no default.
    default = None if default is MISSING else default
    return Argument(name, with_choices(type_, choices), default=default, help=help_, const=const)


def _literal(node: ast.expr | None) -> Any:
    try:
        return MISSING if node is None else ast.literal_eval(node)
    except ValueError:
        return MISSING
