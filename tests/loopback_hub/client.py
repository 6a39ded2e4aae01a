# SPDX-License-Identifier: Apache-2.0
"""Push from a separate process, because huggingface_hub reads the Hub's address when it is imported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def push_client(program: str, hub: Any, home: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Yield a function `push(folder, repo_id, token=…, **options)` that returns the program's JSON output.

    Args:
        program: reads lines of JSON `[token, folder, repo_id, options]` and prints one line of JSON for each.
        hub: the loopback Hub.
        home: folder for the client's caches.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **hub.environment(home), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def push(folder: Path, repo_id: str, token: str = "hf_owner", **options: Any) -> dict[str, Any]:
        process.stdin.write(json.dumps([token, str(folder), repo_id, options]) + "\n")
        process.stdin.flush()
        result = json.loads(process.stdout.readline())
        assert "\n" not in result.get("error", "")
        return result

    try:
        yield push
    finally:
        process.stdin.close()
        process.wait(timeout=30)
