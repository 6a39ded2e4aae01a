# SPDX-License-Identifier: Apache-2.0
"""Run `run-mser` and kill it with SIGKILL when a function is called for the N-th time. A script for test_table2.py.

Usage: interrupted_reproduction.py MODULE:[CLASS.]FUNCTION:N reproduce …
"""

import importlib
import os
import signal
import sys
from typing import Any

from run_mser import main


def kill_at_call(module: str, path: str, number: str) -> None:
    place: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        place = getattr(place, part)
    original, calls = getattr(place, name), []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        if len(calls) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(place, name, counted)


if __name__ == "__main__":
    kill_at_call(*sys.argv[1].split(":"))
    sys.exit(main(sys.argv[2:]))
