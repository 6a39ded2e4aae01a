# SPDX-License-Identifier: Apache-2.0
"""Where the templates and programs lie that go to the Hub beside a model or a data set."""

from importlib.util import find_spec
from pathlib import Path


def hub_cards_folder() -> Path:
    """`hub_cards` in a checkout, the package `hub_cards_mser` where the wheel is installed."""
    checkout = Path(__file__).resolve().parent.parent / "hub_cards"
    if checkout.is_dir():
        return checkout
    spec = find_spec("hub_cards_mser")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the templates are not installed: no package hub_cards_mser; install mser-llm again")
    return Path(next(iter(spec.submodule_search_locations)))
