# SPDX-License-Identifier: Apache-2.0
"""Build a virtual environment with exactly what `pip install NAME ...` installs."""

import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def requirements_of(names: Iterable[str]) -> dict[str, Distribution]:
    """Return the distributions, by name, that pip would install for some names, following extras and markers."""
    found: dict[str, Distribution] = {}
    wanted, seen = [Requirement(name) for name in names], set()
    while wanted:
        requirement = wanted.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name)
        for line in found[name].requires or ():
            further = Requirement(line)
            marker = further.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                wanted.append(further)
    return found


def build_clean_environment(folder: Path, names: Iterable[str]) -> Path:
    """
    Build a virtual environment with some distributions and their requirements only.

    Every file that the distributions record, metadata included, is linked from the environment that runs the tests.
    No folder of that environment is on the new path, so that a package that no requirement names cannot be imported.

    Args:
        folder: folder to create.
        names: arguments of `pip install`.

    Returns:
        The path of its interpreter.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name, installed in requirements_of(names).items():
        if installed.files is None:
            raise RuntimeError(f"{name} does not record its files; install it with pip")
        for file in installed.files:
            # Scripts are outside site-packages; an editable installation would import a checkout.
            if ".." in file.parts or file.suffix in (".pth", ".pyc"):
                continue
            original, link = Path(str(file.locate())).absolute(), site / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(original)
            # Link the compiled file too, so that it is not compiled again.
            compiled = Path(cache_from_source(str(original)))
            if file.suffix == ".py" and compiled.exists():
                (link.parent / "__pycache__").mkdir(exist_ok=True)
                (link.parent / "__pycache__" / compiled.name).symlink_to(compiled)
    return folder / "bin" / "python"
