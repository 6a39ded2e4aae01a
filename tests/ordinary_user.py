# SPDX-License-Identifier: Apache-2.0
"""A user without root's rights, whose home is on another file system than the folders in which it works."""

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
# Where another user's files would be looked for, or the checkout.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")


class OrdinaryUser:
    """Runs commands as an ordinary user: `nobody` where the tests run as root, and whoever runs them elsewhere.

    Where `nobody` may not read the installed dependencies, or no Python of this version, it is root after all; see
    `unprivileged`.

    Args:
        name: of its folders; unique for a run of the tests.

    Attributes:
        python: an interpreter that the user may run, of the version that runs the tests.
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
        # Root's own Python may lie in a folder that is closed to others; the distribution's does not.
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
        """Make a folder that belongs to the user; parents too."""
        for one in (*reversed(path.parents), path):
            if not one.exists():
                one.mkdir(mode=0o755)
                if self.rights:
                    os.chown(one, NOBODY, NOBODY)
        return path

    def run(self, *command: Any, folder: Path, variables: Mapping[str, str] | None = None) -> str:
        """What a command that succeeds writes to standard output."""
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
