# SPDX-License-Identifier: Apache-2.0
"""Record the library versions that a result depends on."""

import platform
from importlib.metadata import PackageNotFoundError, version


def versions(*more: str) -> dict[str, str]:
    """Return the versions of this project, Python and the libraries that affect a result.

    Args:
        *more: further distributions that the result depends on.
    """
    found = {"python": platform.python_version()}
    for distribution in ("mser-llm", "torch", "transformers", "datasets", "numpy", "soundfile", "soxr", *more):
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            found[distribution] = "not installed"
    return found
