# SPDX-License-Identifier: Apache-2.0
"""Command-line arguments from dataclasses: HfArgumentParser with positionals, and recipes as defaults under flags.

The stock parser reads flags or a YAML file, never both, and knows no positionals. Here

- a field with `metadata={"positional": True}` is a positional (`list[...]`: one or more; with a default: may be left
  out);
- the field `config`, where a command has it, names a recipe: its values are the defaults of that call, and flags win;
- a field typed `dict` is a section of the recipe (the configuration of a sub-model, say) and has no flag;
- whatever the user got wrong is told in one line, with exit status 2.
"""

import dataclasses
import difflib
import sys
import types
from argparse import Action, ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from transformers import HfArgumentParser

from mser_llm.cli.recipes import RecipeError, find_recipe, read_recipe
from mser_llm.inference.nearby_models import suggest_model


class _Unfit(Exception):
    """A recipe's value does not fit its argument; the message is what would."""


class _HelpFormatter(ArgumentDefaultsHelpFormatter):
    """Tells the defaults; None and [] are none, and stand beside required flags too."""

    def _get_help_string(self, action: Action) -> str | None:
        return action.help if action.default in (None, []) else super()._get_help_string(action)


class MSERArgumentParser(HfArgumentParser):
    """One parser for the dataclasses of a command.

    Args:
        dataclass_types: a dataclass or a sequence of them; no two may share a field name.
        **kwargs: as for `argparse.ArgumentParser`.
    """

    def __init__(self, dataclass_types: Any, **kwargs: Any) -> None:
        # A prefix that means one flag today may mean two in the next release.
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _HelpFormatter)
        super().__init__(dataclass_types, **kwargs)

    @staticmethod
    def _parse_dataclass_field(parser: ArgumentParser, field: dataclasses.Field) -> None:
        if _is_section(field.type):
            parser.set_defaults(**{field.name: _default(field)})
        elif field.metadata.get("positional"):
            _add_positional(parser, field)
        else:
            HfArgumentParser._parse_dataclass_field(parser, field)

    def error(self, message: str) -> NoReturn:
        """Leave with exit status 2 and one line; the stock method prints the usage of every flag before it."""
        print(f"{self.prog}: error: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(2)

    def parse_args_into_dataclasses(self, args: Sequence[str] | None = None) -> tuple[Any, ...]:
        """Read the command line over the recipe that it names.

        Args:
            args: the words after the command; those of `sys.argv` when None.

        Returns:
            One instance per dataclass, in the order given to the constructor.
        """
        try:
            given = self._read_what_is_told(args)
            if getattr(given, "config", None) is not None:
                self._apply_recipe(given.config)
            missing = [action for action in self._actions if action.required and getattr(given, action.dest) is None]
            if missing:
                self.error(self._explain_missing(missing))
            namespace = self.parse_args(args)
            outputs = []
            for dataclass_type in self.dataclass_types:
                names = [field.name for field in dataclasses.fields(dataclass_type) if field.init]
                outputs.append(dataclass_type(**{name: getattr(namespace, name) for name in names}))
        except (ValueError, OSError) as error:
            self.error(str(error))
        return tuple(outputs)

    def _types(self) -> dict[str, Any]:
        """Argument name -> its type as written (the stock parser replaces `X | None` by `X` in the fields)."""
        found: dict[str, Any] = {}
        for dataclass_type in self.dataclass_types:
            hints = get_type_hints(dataclass_type)
            found.update({field.name: hints[field.name] for field in dataclasses.fields(dataclass_type) if field.init})
        return found

    def _apply_recipe(self, config: str) -> None:
        """Make the values of a recipe the defaults of this parser."""
        path = find_recipe(config)
        known = self._types()
        values = {}
        for key, value in read_recipe(path).items():
            if key not in known or key == "config":
                near = difflib.get_close_matches(key, [name for name in known if name != "config"], n=1, cutoff=0.0)
                raise RecipeError(f"{path}: unknown key {key!r}; the nearest known key is {near[0]!r}")
            try:
                values[key] = _convert(value, known[key])
            except _Unfit as unfit:
                found = "nothing" if value is None else repr(value)
                found = found if len(found) <= 100 else f"{found[:97]}..."
                raise RecipeError(f"{path}: {key}: expected {unfit}, got {found}") from None
        self.set_defaults(**values)
        for action in self._actions:
            if action.dest in values:
                action.required = False

    def _read_what_is_told(self, args: Sequence[str] | None) -> Namespace:
        """The command line before the arguments that it lacks are asked for: a recipe may supply them, and of a
        misspelt flag its owner shall hear that, not that it is missing."""
        required = [action for action in self._actions if action.required]
        for action in required:
            action.required = False
        try:
            namespace, unknown = self.parse_known_args(args)
        finally:
            for action in required:
                action.required = True
        if unknown:
            # Before the recipe is looked at: what was taken for it may be the value of a misspelt flag.
            self.error(self._explain_unknown(unknown))
        return namespace

    def _explain_missing(self, missing: Sequence[Action]) -> str:
        """What the command lacks, what that is, and what to pass."""
        names = [
            f"{action.option_strings[0] if action.option_strings else action.dest}"
            + (f" ({action.help.rstrip('.')})" if action.help and action.dest != "model" else "")
            for action in missing
        ]
        cure = f"`{self.prog} --help` explains every argument"
        if any(action.dest == "model" for action in missing):
            cure = suggest_model()
        elif any(action.dest == "config" for action in missing):
            cure = "`run-mser train tiny/stage1 --corpora folder=my_recordings` trains a small model from scratch"
        return f"missing {' and '.join(names)}; {cure}"

    def _explain_unknown(self, unknown: list[str]) -> str:
        flags = [word.split("=")[0] for word in unknown if word.startswith("-")]
        if not flags:
            return f"unexpected argument {unknown[0]!r}; quote a value with spaces, and separate labels by commas only"
        word, known = flags[0].strip("-").replace("-", "_"), list(self._option_string_actions)
        near = difflib.get_close_matches(flags[0], known, n=1, cutoff=0.8)
        # `--epochs` for `--num_train_epochs`, before what only looks like it.
        near = near or sorted((flag for flag in known if word in flag.strip("-").split("_")), key=len)[:3]
        near = near or difflib.get_close_matches(flags[0], known, n=1)
        cure = f"did you mean {' or '.join(near)}?" if near else f"`{self.prog} --help` lists the flags"
        return f"unknown flag {flags[0]}; {cure}"


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _members(type_: Any) -> tuple[Any, ...]:
    """The members of a union; the type itself where it is none."""
    return get_args(type_) if get_origin(type_) in (Union, types.UnionType) else (type_,)


def _is_section(type_: Any) -> bool:
    members = _members(type_)
    return any((get_origin(member) or member) is dict for member in members) and str not in members


def _add_positional(parser: ArgumentParser, field: dataclasses.Field) -> None:
    member = next(member for member in _members(field.type) if member is not type(None))
    optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    kwargs: dict[str, Any] = {key: value for key, value in field.metadata.items() if key != "positional"}
    if get_origin(member) is list:
        kwargs |= {"type": get_args(member)[0], "nargs": "*" if optional else "+"}
    else:
        kwargs |= {"type": member, "nargs": "?" if optional else None}
    if optional:
        kwargs["default"] = _default(field)
    parser.add_argument(field.name, **kwargs)


def _convert(value: Any, type_: Any) -> Any:
    """A recipe's value as its argument's type. Text becomes a number only where nothing is lost.

    Raises:
        _Unfit: the value is not of that type; the message is what was expected.
    """
    members = _members(type_)
    if value is None and type(None) in members:
        return None
    expected = []
    # Text last: it takes words that another member would have read as something better.
    for member in sorted(members, key=lambda member: member is str):
        if member is not type(None):
            try:
                return _convert_single(value, member)
            except _Unfit as unfit:
                expected.append(str(unfit))
    raise _Unfit(" or ".join(expected))


def _convert_single(value: Any, type_: Any) -> Any:
    origin = get_origin(type_) or type_
    if origin is list:
        (item_type,) = get_args(type_) or (Any,)
        # As on the command line, one word is a list of one.
        items = value if isinstance(value, list) else [value]
        try:
            return [_convert(item, item_type) for item in items]
        except _Unfit as unfit:
            raise _Unfit(f"a list, each item {unfit}") from None
    if origin is dict:
        if not isinstance(value, dict):
            raise _Unfit("a section of `key: value` lines")
    elif origin is Literal or (isinstance(type_, type) and issubclass(type_, Enum)):
        choices = get_args(type_) if origin is Literal else tuple(member.value for member in type_)
        # `stage: 1` means the choice "1", as `--stage 1` does; False is what YAML makes of the word no.
        matching = [choice for choice in choices if str(choice) == str(value) and not isinstance(value, bool)]
        if not matching:
            raise _Unfit(f"one of {', '.join(map(repr, choices))}")
        return matching[0]
    elif type_ is bool:
        if not isinstance(value, bool):
            raise _Unfit("true or false")
    elif type_ in (int, float):
        return _convert_number(value, type_)
    elif type_ is str and not isinstance(value, str):
        # YAML reads `no` as false and `007` as seven.
        raise _Unfit("text (in quotes where YAML would read something else)")
    return value


def _convert_number(value: Any, type_: type) -> int | float:
    if not isinstance(value, bool) and isinstance(value, (int, float, str)):
        try:
            number = type_(value)
        except (ValueError, OverflowError):
            number = None
        if number is not None and (isinstance(value, str) or number == value):
            return number
    raise _Unfit("a whole number" if type_ is int else "a number")
