# SPDX-License-Identifier: Apache-2.0
"""A user without root privileges, whose home and working folders are on different file systems."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


NOBODY = 65534
MEMORY = Path("/dev/shm")
# Variables that would point to the checkout or to another user's files.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")


class OrdinaryUser:
    """Run commands as an ordinary user: `nobody` if the tests run as root, else the current user.

    If `nobody` cannot read the dependencies or a Python of this version, the user is root (see `unprivileged`).

    Args:
        name: name of its folders, unique for a run of the tests.

    Attributes:
        python: an interpreter that the user can run, of the version that runs the tests.
    """

    def __init__(self, name: str):
        self.home = (MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())) / f"{name}-home"
        self.work = Path(tempfile.gettempdir()) / f"{name}-work"
        self.rights: dict[str, Any] = {}
        self.python = sys.executable
        if os.getuid() == 0:
            self._become_nobody()

    def _become_nobody(self) -> None:
        nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        packages = sysconfig.get_path("purelib")
        # Others may have no access to root's own Python, but have to the distribution's.
        for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
            look = [python, "-c", f"import os, venv; os.listdir({packages!r})"]
            try:
                subprocess.run(look, cwd="/", check=True, stderr=subprocess.DEVNULL, **nobody)
            except (OSError, subprocess.CalledProcessError):
                continue
            self.python, self.rights = python, nobody
            return

    @property
    def unprivileged(self) -> bool:
        return bool(self.rights) or os.getuid() != 0

    @property
    def temporary(self) -> Path:
        """Its `TMPDIR`."""
        return self.work / "tmp"

    def folder(self, path: Path) -> Path:
        """Create a folder that the user owns, with its parents."""
        for one in (*reversed(path.parents), path):
            if not one.exists():
                one.mkdir(mode=0o755)
                if self.rights:
                    os.chown(one, NOBODY, NOBODY)
        return path

    def run(self, *command: Any, folder: Path, variables: Mapping[str, str] | None = None) -> str:
        """Run a command that must succeed and return its standard output."""
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        environment |= {"HOME": str(self.folder(self.home)), "TMPDIR": str(self.folder(self.temporary))}
        words = [str(word) for word in command]
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**environment, **(variables or {})},
            **self.rights,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def remove(self) -> None:
        """Remove its folders."""
        for folder in (self.home, self.work):
            if folder.exists():
                subprocess.run(["chmod", "-R", "u+w", folder], check=False)
                shutil.rmtree(folder, ignore_errors=True)
