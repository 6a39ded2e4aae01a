# SPDX-License-Identifier: Apache-2.0
"""Build the project's wheel and install it without a checkout."""

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
# The first command in the documentation.
DEMO = "run-mser demo --size small --output_dir runs/demo"


def checked(*command: Any, **options: Any) -> str:
    """Run a command that must succeed and return its standard output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_wheel(folder: Path) -> None:
    """Build from a copy, so that the wheel has nothing of an earlier build in the checkout."""
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    checked(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder / "source")


class FreshInstallation:
    """
    A read-only environment with the wheel, in the home of an ordinary user.

    A .pth file adds the dependencies of the environment that runs the tests. The .pth files of that environment are
    not followed, so an editable install of the checkout there is not imported.

    Args:
        user: owner of the environment.
    """

    def __init__(self, user: OrdinaryUser):
        self.user = user
        self.folder = user.home / "environment"
        self.bin = self.folder / "bin"

    def install(self, wheel: Path) -> None:
        """Build the environment."""
        home = self.user.folder(self.user.home)
        # Other users may have no access to the folder of the tests.
        download = shutil.copy(wheel, self.user.folder(home / "Downloads"))
        self.user.run(self.user.python, "-m", "venv", "--without-pip", self.folder, folder=home)
        (site,) = self.folder.glob("lib/python*/site-packages")
        dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (site / "dependencies_of_the_tests.pth").write_text("\n".join(sorted(dependencies)) + "\n", encoding="utf-8")
        pip = [self.bin / "python", "-m", "pip", "--no-cache-dir", "install"]
        self.user.run(*pip, "--no-deps", "--ignore-installed", download, folder=home)
        checked("chmod", "-R", "a-w", self.folder)

    def run(self, program: str, *words: str, folder: Path, variables: Mapping[str, str] | None = None) -> str:
        """Run one of its programs as the user in a folder and return its standard output."""
        return self.user.run(self.bin / program, *words, folder=folder, variables=variables)
