# SPDX-License-Identifier: Apache-2.0
"""Find recipes by path or name, and read their YAML strictly."""

import difflib
import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from mser_llm.io.errors import InputError
from mser_llm.io.packaged_folders import packaged_folder


class RecipeError(InputError):
    """A recipe is missing, is not YAML, or has a value that the command cannot use."""


def recipe_folder() -> Path:
    """Return the folder of the project's own recipes."""
    return packaged_folder("configs")


def find_recipe(name: str) -> Path:
    """
    Find the recipe at the path `name`, or the project's own recipe of that name.

    `configs/tiny/stage1.yaml`, `tiny/stage1.yaml` and `tiny/stage1` name the same recipe from any folder.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise RecipeError(name, "is a folder", "pass one YAML file in it")
    folder = recipe_folder()
    if not path.is_absolute():
        relative = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
        for candidate in (folder / relative, folder / f"{relative}.yaml"):
            if candidate.is_file():
                return candidate
    names = [found.relative_to(folder) for found in folder.rglob("*.yaml")]
    # Configurations of `accelerate launch` are not recipes.
    known = sorted(found.as_posix() for found in names if found.parts[0] != "accelerate")
    near = difflib.get_close_matches(path.with_suffix(".yaml").as_posix().removeprefix("configs/"), known, n=1)
    suggestion = f"did you mean {near[0]}? " if near else ""
    fix = f"{suggestion}the project's recipes: {', '.join(known) or 'none'}"
    raise RecipeError(name, "no such file, and no recipe of that name", fix)


def find_recipes_by_output(output_dir: str) -> list[str]:
    """Find the project's recipes that write their model to this folder by default."""
    folder = recipe_folder()
    found = (path for path in sorted(folder.rglob("*.yaml")) if read_recipe(path).get("output_dir") == output_dir)
    return [path.relative_to(folder).with_suffix("").as_posix() for path in found]


_MAX_VALUES = 10_000


class _RecipeLoader(yaml.SafeLoader):
    """
    Read `1e-4` as a number, as in YAML 1.2.

    A duplicate key is an error, and so are aliases that expand to more than `_MAX_VALUES` values.
    """

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _expanded_size(node, {}) > _MAX_VALUES:
            problem = f"its aliases expand to more than {_MAX_VALUES} values"
            raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is duplicate", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _expanded_size(node: yaml.Node, sizes: dict[yaml.Node, float]) -> float:
    """Count the values with aliases expanded; infinite if a value contains itself."""
    if node not in sizes:
        sizes[node] = math.inf  # until counted: only its own children can ask meanwhile
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        children = [child for part in parts for child in (part if isinstance(part, tuple) else (part,))]
        sizes[node] = 1 + sum(_expanded_size(child, sizes) for child in children)
    return sizes[node]


_RecipeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe: a mapping of argument names to values, sections as nested mappings."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_RecipeLoader)
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 text ({error.reason} at byte {error.start})"
        raise RecipeError(path, problem, "save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeError(f"{path}{line}", f"not valid YAML: {error.problem}", "correct it") from error
    except RecursionError as error:
        raise RecipeError(path, "its values are nested too deeply", "write fewer levels") from error
    except yaml.YAMLError as error:
        raise RecipeError(path, f"not valid YAML: {' '.join(str(error).split())}", "correct it") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise RecipeError(path, f"contains a {type(content).__name__}", "write a mapping of `argument: value` lines")
    return content
