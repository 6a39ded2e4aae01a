# SPDX-License-Identifier: Apache-2.0
"""The versions that a figure depends on."""

import platform
from importlib.metadata import PackageNotFoundError, version


def versions(*more: str) -> dict[str, str]:
    """What a figure depends on beside the model: the versions of this project, Python and the libraries.

    Args:
        *more: further distributions that the figure depends on.
    """
    found = {"python": platform.python_version()}
    for distribution in ("mser-llm", "torch", "transformers", "datasets", "numpy", "soundfile", "soxr", *more):
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            found[distribution] = "not installed"
    return found
