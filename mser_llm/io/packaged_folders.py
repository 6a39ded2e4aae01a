# SPDX-License-Identifier: Apache-2.0
"""Find the folders that are next to the packages in a checkout and inside `mser_llm` in an installation."""

from pathlib import Path


def packaged_folder(name: str) -> Path:
    """
    Return the folder `configs` (recipes) or `hub_cards` (card templates, endpoint handler, Space).

    Raises:
        FileNotFoundError: it is missing in the installation.
    """
    package = Path(__file__).resolve().parents[1]
    for parent in (package.parent, package):
        # site-packages may have a folder of that name from another distribution; ours has its `__init__.py`.
        if (parent / name / "__init__.py").is_file() and (parent == package or (parent / "setup.cfg").is_file()):
            return parent / name
    raise FileNotFoundError(f"{package / name} is missing; reinstall mser-llm")
