# SPDX-License-Identifier: Apache-2.0
"""The project's wheel, and an environment that has it from there alone."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ordinary_user import OrdinaryUser


ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "runs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
# The first thing that a newcomer is told to type.
DEMO = "run-mser demo --size small --output_dir runs/demo"


def checked(*command: Any, **options: Any) -> str:
    """What a command that succeeds writes to standard output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_wheel(folder: Path) -> None:
    """Built from a copy, so that nothing left over from an earlier build in the checkout can get in."""
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    checked(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder / "source")


class FreshInstallation:
    """
    A new environment in the home of an ordinary user, who installs a wheel there and can then not write to it.

    The dependencies are those of the environment that runs the tests, seen through a .pth file; the .pth files of that
    environment are not followed, so an editable install of the checkout there stays out of sight.

    Args:
        user: whose home it is in.
    """

    def __init__(self, user: OrdinaryUser):
        self.user = user
        self.folder = user.home / "environment"
        self.bin = self.folder / "bin"

    def install(self, wheel: Path) -> None:
        """Makes the environment."""
        home = self.user.folder(self.user.home)
        # The folder of the tests may be closed to others than who runs them.
        download = shutil.copy(wheel, self.user.folder(home / "Downloads"))
        self.user.run(self.user.python, "-m", "venv", "--without-pip", self.folder, folder=home)
        (site,) = self.folder.glob("lib/python*/site-packages")
        dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (site / "dependencies_of_the_tests.pth").write_text("\n".join(sorted(dependencies)) + "\n", encoding="utf-8")
        pip = [self.bin / "python", "-m", "pip", "--no-cache-dir", "install"]
        self.user.run(*pip, "--no-deps", "--ignore-installed", download, folder=home)
        checked("chmod", "-R", "a-w", self.folder)

    def run(self, program: str, *words: str, folder: Path, variables: Mapping[str, str] | None = None) -> str:
        """What one of its programs writes to standard output, run by the user in a folder."""
        return self.user.run(self.bin / program, *words, folder=folder, variables=variables)
