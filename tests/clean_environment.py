# SPDX-License-Identifier: Apache-2.0
"""A virtual environment that holds what `pip install NAME ...` puts there, and nothing else."""

import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def requirements_of(names: Iterable[str]) -> dict[str, Distribution]:
    """The distributions that pip would install for some names, by name: each one's declared requirements are followed,
    with the extras they ask for and the markers that hold here."""
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
    Makes a virtual environment with some distributions, their requirements, and nothing besides.

    It is as clean as one that pip fills from an index, without the gigabytes: every single file that such an
    installation records is linked from the environment that runs the tests, and no folder of that environment is on
    the path of the new one, so that what no requirement names cannot be imported. Its metadata are linked too, and
    `importlib.metadata` sees the same.

    Args:
        folder: to be made.
        names: as given to `pip install`.

    Returns:
        its interpreter.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name, installed in requirements_of(names).items():
        if installed.files is None:
            raise RuntimeError(f"{name} does not record its files; install it with pip")
        for file in installed.files:
            # Scripts lie outside of site-packages; an editable installation would lead back to a checkout.
            if ".." in file.parts or file.suffix in (".pth", ".pyc"):
                continue
            original, place = Path(str(file.locate())).absolute(), site / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(original)
            # What Python made of it when it was first imported, or the new environment would make it again.
            compiled = Path(cache_from_source(str(original)))
            if file.suffix == ".py" and compiled.exists():
                (place.parent / "__pycache__").mkdir(exist_ok=True)
                (place.parent / "__pycache__" / compiled.name).symlink_to(compiled)
    return folder / "bin" / "python"
