# SPDX-License-Identifier: Apache-2.0
"""Parse a command line into dataclasses, with recipes as defaults under flags.

- A field with `option(..., positional=True)` is a positional; `list[...]` takes all the words.
- The field `config`, where a command has it, names a recipe. Flags override the values of the recipe.
- A field of type `dict` is a section of the recipe and has no flag.
- A usage error is one line, with exit status 2.
"""

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from typing import Any, NoReturn

from mser_llm.cli.dataclass_arguments import Argument, UnfitValue, arguments_of, convert
from mser_llm.cli.recipes import RecipeError, find_recipe, read_recipe
from mser_llm.inference.loading import suggest_model
from mser_llm.training.number_bounds import check_numbers


class MSERArgumentParser(argparse.ArgumentParser):
    """
    One parser for all sections of a command.

    Args:
        sections: a dataclass or several, or callables with `arguments` such as `TrainingSection`. No two may share a
            field name.
        **kwargs: as for `argparse.ArgumentParser`.
    """

    def __init__(self, sections: Any, **kwargs: Any) -> None:
        # A prefix that means one flag today may mean two in the next release.
        super().__init__(allow_abbrev=False, **kwargs)
        self.sections = sections if isinstance(sections, (list, tuple)) else (sections,)
        self.arguments_by_section = [
            arguments_of(one) if isinstance(one, type) else one.arguments for one in self.sections
        ]
        self.arguments = {
            name: argument for section in self.arguments_by_section for name, argument in section.items()
        }
        for argument in self.arguments.values():
            if not argument.is_section:
                self._add(argument)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one line; the stock method prints the usage of every flag before it."""
        print(f"{self.prog}: error: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(2)

    def parse_args_into_dataclasses(self, args: Sequence[str] | None = None) -> tuple[Any, ...]:
        """
        Parse the command line and the recipe that it names.

        Args:
            args: the words after the command; those of `sys.argv` when None.

        Returns:
            One instance per section, in the order given to the constructor.
        """
        words = sys.argv[1:] if args is None else args
        parsed, unknown = self.parse_known_args([self._with_underscores(word) for word in words])
        # Before the recipe is read: what was taken for its name may be the value of a misspelled flag.
        if unknown:
            self.error(self._explain_unknown(unknown))
        given = {name: value for name, value in vars(parsed).items() if value is not None and value != []}
        try:
            if "config" in given:
                given = self._recipe_values(given["config"]) | given
            missing = [one for one in self.arguments.values() if one.default is MISSING and one.name not in given]
            if missing:
                self.error(self._explain_missing(missing))
            return tuple(
                self._build(section, {name: given[name] for name in arguments if name in given})
                for section, arguments in zip(self.sections, self.arguments_by_section)
            )
        except (ValueError, OSError) as error:
            self.error(str(error))

    def _add(self, argument: Argument) -> None:
        choices = f"{{{','.join(map(str, argument.choices))}}}" if argument.choices else None
        options: dict[str, Any] = {
            "type": argument.convert_word,
            "help": _help(argument),
            "metavar": argument.metavar or choices,
        }
        if argument.positional:
            self.add_argument(argument.name, nargs="*" if argument.is_list else "?", **options)
            return
        if argument.is_list:
            options["nargs"] = "+"
        elif bool in argument.members or argument.const is not None:
            options |= {"nargs": "?", "const": True if argument.const is None else argument.const}
        self.add_argument(f"--{argument.name}", default=argparse.SUPPRESS, **options)
        if argument.default is True:
            self.add_argument(
                f"--no_{argument.name}", action="store_false", dest=argument.name, default=argparse.SUPPRESS
            )

    def _with_underscores(self, word: str) -> str:
        """`--batch-size` as `--batch_size`, if there is such a flag."""
        flag, equals, value = word.partition("=")
        underscored = "--" + flag[2:].replace("-", "_")
        known = flag.startswith("--") and underscored in self._option_string_actions
        return underscored + equals + value if known else word

    @staticmethod
    def _build(section: Any, values: Mapping[str, Any]) -> Any:
        built = section(**values)
        check_numbers(vars(built), {})
        return built

    def _recipe_values(self, config: str) -> dict[str, Any]:
        """The values of a recipe as the types of their arguments."""
        path = find_recipe(config)
        known = {name: argument.type for name, argument in self.arguments.items() if name != "config"}
        values = {}
        for key, value in read_recipe(path).items():
            if key not in known:
                (near,) = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
                raise RecipeError(path, f"unknown key {key!r}", f"the nearest known key is {near!r}")
            try:
                values[key] = convert(value, known[key])
            except UnfitValue as unfit:
                found = "nothing" if value is None else repr(value)
                found = found if len(found) <= 100 else f"{found[:97]}..."
                raise RecipeError(path, f"{key}: expected {unfit}, got {found}") from None
        return values

    def _explain_missing(self, missing: Sequence[Argument]) -> str:
        """Name the missing arguments, what they are, and what to pass."""
        names = [
            ("" if one.positional else "--")
            + one.name
            + (f" ({one.help.rstrip('.')})" if one.help and one.name != "model" else "")
            for one in missing
        ]
        fix = f"`{self.prog} --help` explains every argument"
        if any(one.name == "model" for one in missing):
            fix = suggest_model()
        elif any(one.name == "config" for one in missing):
            fix = "`run-mser train tiny/stage1 --corpora folder=my_recordings` trains a small model from scratch"
        return f"missing {' and '.join(names)}; {fix}"

    def _explain_unknown(self, unknown: Sequence[str]) -> str:
        flags = [word.split("=")[0] for word in unknown if word.startswith("-")]
        if not flags:
            return f"unexpected argument {unknown[0]!r}; quote a value with spaces, and separate labels by commas only"
        flag, word, known = flags[0], flags[0].strip("-").replace("-", "_"), list(self._option_string_actions)
        if word in self.arguments:
            return f"{flag} is a section of the recipe and has no flag; set it in a recipe"
        near = difflib.get_close_matches(flag, known, n=1, cutoff=0.8)
        # `--epochs` suggests `--num_train_epochs` before what only looks like it.
        near = near or sorted((one for one in known if word in one.strip("-").split("_")), key=len)[:3]
        near = near or difflib.get_close_matches(flag, known, n=1)
        fix = f"did you mean {' or '.join(near)}?" if near else f"`{self.prog} --help` lists the flags"
        return f"unknown flag {flag}; {fix}"


def _help(argument: Argument) -> str | None:
    """The help with the default, if there is one. `None` and `[]` mean that there is none."""
    if argument.default is MISSING or argument.default is None or argument.default == []:
        return argument.help
    default = str(getattr(argument.default, "value", argument.default)).replace("%", "%%")
    return f"{argument.help or ''} (default: {default})".lstrip()
