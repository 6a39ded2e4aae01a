# SPDX-License-Identifier: Apache-2.0
"""Rules that no linter checks: licence headers, the travelling packages, metadata that agrees with the files."""

import ast
import configparser
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


ROOT = Path(__file__).resolve().parents[1]
FIRST_PARTY = {"processing_mser", "modeling_mser", "mser_llm", "benchmarks", "run_mser"}
REMOTE_CODE = ("processing_mser", "modeling_mser")
BUILT = {".venv", ".venv-oldest", ".git", "build", "dist", "runs"}


def sources(folder=ROOT):
    """Python files of the project under a folder, without build output and environments."""
    inside = [path for path in folder.iterdir() if path.name not in BUILT]
    files = [path for path in inside if path.suffix == ".py"]
    return sorted([*files, *(found for path in inside if path.is_dir() for found in path.rglob("*.py"))])


def name_of(path):
    return str(path.relative_to(ROOT))


def imports(path):
    """(module or None for `from . import x`, relative level, inside a try block) of every import of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.Try)
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, 0, node in guarded
        elif isinstance(node, ast.ImportFrom):
            yield node.module, node.level, node in guarded


@pytest.fixture(scope="module")
def distributions():
    """Import name -> names of the distributions that provide it."""
    # Older versions of Python list neither a distribution that is one compiled file nor one without top_level.txt.
    found = {"parselmouth": ["praat-parselmouth"], "sklearn": ["scikit-learn"], **packages_distributions()}
    return {name: {canonicalize_name(one) for one in names} for name, names in found.items()}


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text):
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_every_file_starts_with_its_licence():
    header = "# SPDX-License-Identifier: Apache-2.0\n"
    assert not [path for path in sources() if not path.read_text(encoding="utf-8").startswith(header)]


@pytest.mark.parametrize("package", REMOTE_CODE)
def test_remote_code_is_flat_and_imports_siblings(package):
    folder = ROOT / package
    assert not [path for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"]
    neighbours = {path.stem for path in folder.glob("*.py")}
    for path in sources(folder):
        assert path.stem == "__init__" or path.stem.endswith("_mser"), name_of(path)
        for module, level, _ in imports(path):
            if level:
                assert level == 1, f"{name_of(path)} reaches out of its folder"
                assert module in neighbours, f"{name_of(path)} imports .{module}"
            else:
                assert module is not None
                assert module.split(".")[0] != package, f"{name_of(path)} imports {module}; write it relative"


def test_imports_are_declared_and_those_of_remote_code_required(setup, distributions):
    """transformers rejects remote code whose imports are missing, except in a `try:` block."""
    required = {canonicalize_name(Requirement(line).name) for line in lines(setup["options"]["install_requires"])}
    extras = [lines(extra) for extra in setup["options.extras_require"].values()]
    known = required | {canonicalize_name(Requirement(line).name) for extra in extras for line in extra}
    packages = (*REMOTE_CODE, "mser_llm")
    for path in [*(path for name in packages for path in sources(ROOT / name)), ROOT / "run_mser.py"]:
        for module, level, guarded in imports(path):
            first = (module or "").split(".")[0]
            if level == 0 and first not in FIRST_PARTY | set(sys.stdlib_module_names):
                names = distributions.get(first, {canonicalize_name(first)})
                assert names & known, f"{name_of(path)} imports {first}, which setup.cfg does not declare"
                if path.parent.name in REMOTE_CODE and not guarded:
                    assert names & required, f"{name_of(path)} imports {first} outside a try block"


def test_setup_cfg_lists_all_packages(setup):
    moved = dict(line.split(" = ") for line in lines(setup["options"]["package_dir"]))
    listed = {moved.get(name, name.replace(".", "/")) for name in lines(setup["options"]["packages"])}
    on_disk = {
        str(path.parent.relative_to(ROOT))
        for path in sources()
        if path.name == "__init__.py" and path.relative_to(ROOT).parts[0] not in ("tests", "benchmarks")
    }
    assert listed == on_disk


def test_constraints_satisfy_setup_cfg(setup):
    pinned = {}
    for line in lines((ROOT / "constraints.txt").read_text(encoding="utf-8")):
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        pinned[canonicalize_name(requirement.name)] = specifier.version
    asked = lines(setup["options"]["install_requires"])
    for extra in setup["options.extras_require"].values():
        asked += lines(extra)
    for line in asked:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), line


def test_extra_all_has_every_user_extra(setup):
    extras = {name: set(lines(text)) for name, text in setup["options.extras_require"].items()}
    assert extras["all"] == set().union(*(packages for name, packages in extras.items() if name not in ("all", "dev")))
    assert extras["all"] <= extras["dev"]


def test_changelog_and_citation_name_the_version(setup):
    version = setup["metadata"]["version"]
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert citation["license"] == setup["metadata"]["license"]


def test_sub_configs_suit_the_oldest_transformers():
    """Newer versions accept a bare class too; 5.20, the last for Python 3.10, does not."""
    found = 0
    for path in sorted((ROOT / "modeling_mser").glob("*configuration_mser.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "sub_configs_defaults":
                parts = [ast.unparse(value) for value in node.value.values]
                assert all(part.startswith("SubConfigSpec(") for part in parts), (path.name, parts)
                found += len(parts)
    assert found == 5
