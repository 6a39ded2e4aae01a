# SPDX-License-Identifier: Apache-2.0
"""Small copies of every corpus in its published layout, its odd names included, and the rows that they must give.

The recordings are empty files, which a reader that opened one would fail on.
"""

from collections.abc import Callable
from pathlib import Path

from .files import Clip, touch, write
from .labels_in_names import TOLD_BY_NAMES
from .labels_in_tables import MELD_FOLDERS, TOLD_BY_TABLES, meld, resd_parquet


TREES: dict[str, Callable[[Path], dict[str, Clip]]] = {**TOLD_BY_TABLES, **TOLD_BY_NAMES}
"""Corpus to what builds its small copy under a folder and tells the rows by id."""

__all__ = ["MELD_FOLDERS", "TREES", "Clip", "meld", "resd_parquet", "touch", "write"]
