# SPDX-License-Identifier: Apache-2.0
"""The project's wheel, and an environment that has it from there alone."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any


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
    A new environment with a wheel in it.

    The dependencies are those of the environment that runs the tests, seen through a .pth file; the .pth files of that
    environment are not followed, so an editable install of the checkout there stays out of sight.

    Args:
        folder: of the environment.
    """

    def __init__(self, folder: Path):
        self.folder, self.bin = folder, folder / "bin"

    def install(self, wheel: Path) -> None:
        """Makes the environment."""
        checked(sys.executable, "-m", "venv", "--without-pip", self.folder)
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python"]
        checked(*pip, "install", "--no-deps", "--ignore-installed", wheel)
        (site,) = self.folder.glob("lib/python*/site-packages")
        dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (site / "dependencies_of_the_tests.pth").write_text("\n".join(sorted(dependencies)) + "\n", encoding="utf-8")

    def run(self, program: str, *words: str, folder: Path) -> str:
        """What one of its programs writes to standard output, run in a folder and without what would let the checkout
        in."""
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        return checked(self.bin / program, *words, cwd=folder, env=environment)
