# SPDX-License-Identifier: Apache-2.0
"""Recipes: YAML files found by path or by name, and read so that a slip is told rather than swallowed."""

import difflib
import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from mser_llm.io.packaged_folders import packaged_folder


class RecipeError(ValueError):
    """A recipe that is missing, is not YAML, or says something that the command cannot use."""


def recipe_folder() -> Path:
    """The folder of the project's own recipes."""
    return packaged_folder("configs")


def find_recipe(name: str) -> Path:
    """The recipe at the path `name`, or else the one of that name among the project's own.

    `configs/tiny/stage1.yaml`, `tiny/stage1.yaml` and `tiny/stage1` name the same recipe from any folder.

    Raises:
        RecipeError: neither is there; the message lists the project's recipes.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise RecipeError(f"{name}: is a folder; give one YAML file in it")
    folder = recipe_folder()
    if not path.is_absolute():
        relative = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
        for candidate in (folder / relative, folder / f"{relative}.yaml"):
            if candidate.is_file():
                return candidate
    names = [found.relative_to(folder) for found in folder.rglob("*.yaml")]
    # What `accelerate launch` reads lies beside the recipes and is none.
    known = sorted(found.as_posix() for found in names if found.parts[0] != "accelerate")
    near = difflib.get_close_matches(path.with_suffix(".yaml").as_posix().removeprefix("configs/"), known, n=1)
    raise RecipeError(
        f"{name}: no such file, and no recipe of that name; {f'did you mean {near[0]}? ' if near else ''}"
        f"the project's recipes: {', '.join(known) or 'none'}"
    )


def find_recipes_by_output(output_dir: str) -> list[str]:
    """Find the project's recipes that write their model to this folder by default."""
    folder = recipe_folder()
    found = (path for path in sorted(folder.rglob("*.yaml")) if read_recipe(path).get("output_dir") == output_dir)
    return [path.relative_to(folder).with_suffix("").as_posix() for path in found]


_MAX_VALUES = 10_000


class _RecipeLoader(yaml.SafeLoader):
    """YAML in which `1e-4` is a number, as YAML 1.2 has it and PyYAML does not. A key twice is an error, and so are
    aliases that expand to more than `_MAX_VALUES` values: nine lines can stand for a billion."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _expanded_size(node, {}) > _MAX_VALUES:
            problem = f"with its aliases expanded it has more than {_MAX_VALUES} values; write the values out"
            raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _expanded_size(node: yaml.Node, sizes: dict[yaml.Node, float]) -> float:
    """The number of values with aliases written out; infinite where a value contains itself."""
    if node not in sizes:
        sizes[node] = math.inf  # until it is counted: whoever asks meanwhile lies inside it
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        children = [child for part in parts for child in (part if isinstance(part, tuple) else (part,))]
        sizes[node] = 1 + sum(_expanded_size(child, sizes) for child in children)
    return sizes[node]


_RecipeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_recipe(path: Path) -> dict[str, Any]:
    """The content of a recipe: a mapping of argument names to values, sections as nested mappings.

    Raises:
        RecipeError: the file is not YAML, is not a mapping, has a key twice, or too many or too deeply nested values.
        OSError: the file cannot be read.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_RecipeLoader)
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeError(f"{path}{where}: not valid YAML: {error.problem}") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: its values are nested too deeply; write fewer levels") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise RecipeError(f"{path}: a recipe is a mapping `argument: value`; found {type(content).__name__}")
    return content
