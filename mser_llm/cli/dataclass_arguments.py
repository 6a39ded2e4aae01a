# SPDX-License-Identifier: Apache-2.0
"""Read command-line arguments from dataclass fields, and convert text and YAML values to their types."""

import types
from argparse import ArgumentTypeError
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


# The words of transformers' `HfArgumentParser`.
_BOOLEANS = dict.fromkeys(("true", "t", "yes", "y", "1"), True) | dict.fromkeys(("false", "f", "no", "n", "0"), False)

_SHARED_HELP = {
    "model": "folder or Hub id of a trained model",
    "labels": "label set: four, seven, or labels separated by commas",
    "batch_size": "clips per forward pass",
    "device": "auto, cpu, cuda or cuda:N",
    "decode": "score compares the candidate labels; generate parses a label from generated text",
    "quantize": "int8: encoder and language model on a CPU; 4bit: language model on CUDA",
    "compile": "use torch.compile, which takes minutes before the first prediction",
    "allow_leak": "continue although training and test overlap, and mark the results",
    "allow_unlearned_labels": "accept labels that a language model trained from scratch never learned; their scores "
    "are meaningless, and the results are marked",
    "resamples": "bootstrap resamples over speakers",
}
"""Help of the arguments that several commands have."""


def option(default: Any = MISSING, help: str | None = None, **metadata: Any) -> Any:
    """
    Define a dataclass field that is an argument of a command.

    Args:
        default: may be a list; without one, the argument is required.
        help: of the argument; without one, it has that of `_SHARED_HELP`.
        **metadata: `metavar`, `positional`, `const` and `choices` of its `Argument`.
    """
    metadata["help"] = help
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


class UnfitValue(Exception):
    """A value cannot be converted; the message is what was expected."""


@dataclass(frozen=True)
class Argument:
    """
    One argument of a command.

    Attributes:
        name: of the field.
        type: as annotated.
        default: `MISSING` if the argument is required.
        help: may be None.
        metavar: name of the value in the help; by default `name`, or the choices.
        positional: whether it is a positional (`list[...]`: all the words) instead of a flag.
        const: value of the flag without a word; None if it needs one.
    """

    name: str
    type: Any
    default: Any = MISSING
    help: str | None = None
    metavar: str | None = None
    positional: bool = False
    const: Any = None

    @property
    def members(self) -> tuple[Any, ...]:
        """The members of a union without None; the type alone if it is no union."""
        union = get_args(self.type) if _is_union(self.type) else (self.type,)
        return tuple(member for member in union if member is not type(None))

    @property
    def is_section(self) -> bool:
        """Whether it is a nested mapping of a recipe, which has no flag."""
        return str not in self.members and any((get_origin(member) or member) is dict for member in self.members)

    @property
    def is_list(self) -> bool:
        """Whether its flag takes several words. `str | list[str]` takes one."""
        return str not in self.members and any((get_origin(member) or member) is list for member in self.members)

    @property
    def choices(self) -> tuple[Any, ...]:
        return _choices(self.members[0]) if len(self.members) == 1 else ()

    def convert_word(self, word: str) -> Any:
        """Convert one word of the command line."""
        type_ = self.type
        if self.is_list:
            (listed,) = (member for member in self.members if (get_origin(member) or member) is list)
            type_ = (get_args(listed) or (str,))[0]
        # In a recipe, YAML distinguishes true and "true".
        if bool in self.members and word.lower() in _BOOLEANS:
            return _BOOLEANS[word.lower()]
        try:
            return convert(word, type_)
        except UnfitValue as unfit:
            raise ArgumentTypeError(f"expected {unfit}, got {word!r}") from None


def arguments_of(class_: type) -> dict[str, Argument]:
    """The arguments that the fields of a dataclass describe, by name."""
    hints = get_type_hints(class_)
    return {
        one.name: Argument(
            one.name,
            with_choices(hints[one.name], one.metadata.get("choices")),
            default=one.default if one.default_factory is MISSING else one.default_factory(),
            help=one.metadata.get("help") or _SHARED_HELP.get(one.name),
            **{key: one.metadata[key] for key in ("metavar", "positional", "const") if key in one.metadata},
        )
        for one in fields(class_)
        if one.init
    }


def with_choices(type_: Any, choices: Iterable[str] | None) -> Any:
    """`str` or `str | None` limited to the choices of a field's metadata, if it has any."""
    if choices is None:
        return type_
    literal: Any = Literal.__getitem__(tuple(choices))
    return literal | None if _is_union(type_) else literal


def convert(value: Any, type_: Any) -> Any:
    """
    Convert text or a value of a recipe. Text becomes a number only where nothing is lost.

    Raises:
        UnfitValue: the value does not fit the type.
    """
    members = get_args(type_) if _is_union(type_) else (type_,)
    if value is None and type(None) in members:
        return None
    if isinstance(value, str) and str in members:
        # Not a list of one: `str | list[str]` may mean different things by the two.
        members = tuple(member for member in members if get_origin(member) is not list)
    expected = []
    # Text last: it takes words that another member reads as something better.
    for member in sorted(members, key=lambda member: member is str):
        if member is not type(None):
            try:
                return _convert_single(value, member)
            except UnfitValue as unfit:
                expected.append(str(unfit))
    raise UnfitValue(" or ".join(expected))


def _convert_single(value: Any, type_: Any) -> Any:
    origin, choices = get_origin(type_) or type_, _choices(type_)
    if origin is list:
        (item_type,) = get_args(type_) or (Any,)
        # As on the command line, one word is a list of one.
        items = value if isinstance(value, list) else [value]
        try:
            return [convert(item, item_type) for item in items]
        except UnfitValue as unfit:
            raise UnfitValue(f"a list, each item {unfit}") from None
    if origin is dict:
        if not isinstance(value, dict):
            raise UnfitValue("a section of `key: value` lines")
    elif choices:
        # `stage: 1` means the choice "1", as `--stage 1` does; False is what YAML reads in the word no.
        for choice in choices:
            if choice is value or (str(choice) == str(value) and not isinstance(value, bool)):
                return choice
        raise UnfitValue(f"one of {', '.join(map(repr, choices))}")
    elif type_ is bool:
        if not isinstance(value, bool):
            raise UnfitValue("true or false")
    elif type_ in (int, float):
        return _convert_number(value, type_)
    elif type_ is str and not isinstance(value, str):
        # YAML reads `no` as false and `007` as seven.
        raise UnfitValue("text (in quotes where YAML would read something else)")
    return value


def _convert_number(value: Any, type_: type) -> int | float:
    if not isinstance(value, bool) and isinstance(value, (int, float, str)):
        try:
            number = type_(value)
        except (ValueError, OverflowError):
            number = None
        if number is not None and (isinstance(value, str) or number == value):
            return number
    raise UnfitValue("a whole number" if type_ is int else "a number")


def _choices(type_: Any) -> tuple[Any, ...]:
    if get_origin(type_) is Literal:
        return get_args(type_)
    if isinstance(type_, type) and issubclass(type_, Enum):
        return tuple(member.value for member in type_)
    return ()


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, types.UnionType)
