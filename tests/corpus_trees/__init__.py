# SPDX-License-Identifier: Apache-2.0
"""Small copies of every corpus in its published layout, odd file names included, with the expected rows.

The recordings are empty files, so a reader that opens one fails.
"""

from collections.abc import Callable
from pathlib import Path

from .files import Clip, touch, write
from .labels_in_names import LABELS_IN_NAMES
from .labels_in_tables import LABELS_IN_TABLES, MELD_FOLDERS, meld, resd_parquet


TREES: dict[str, Callable[[Path], dict[str, Clip]]] = {**LABELS_IN_TABLES, **LABELS_IN_NAMES}
"""Corpus to a function that builds its small copy in a folder and returns the expected rows by id."""

__all__ = ["MELD_FOLDERS", "TREES", "Clip", "meld", "resd_parquet", "touch", "write"]
