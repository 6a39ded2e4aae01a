# SPDX-License-Identifier: Apache-2.0
"""Whether BYOL has collapsed: every clip gets one projection, which is predicted without error and says nothing."""

from collections.abc import Mapping, Sequence
from typing import Any


COLLAPSED = 0.1
"""`byol_std` below which projections are taken for one; 1 is that of projections in all directions alike."""
PATIENCE = 30
"""Steps for which it must stay there."""


def steps_below(log_history: Sequence[Mapping[str, Any]], limit: float = COLLAPSED) -> int:
    """The number of steps, up to the last logged one, in which no logged `byol_std` reached the limit."""
    last = since = 0
    for entry in log_history:
        if "byol_std" in entry:
            last = entry["step"]
            if entry["byol_std"] >= limit:
                since = last
    return last - since


def collapse_record(log_history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For `train_results.json`: the last `byol_std`, for how many steps it was below the limit, and the verdict."""
    spreads = [entry["byol_std"] for entry in log_history if "byol_std" in entry]
    below = steps_below(log_history)
    return {"std": spreads[-1] if spreads else None, "steps_below": below, "collapsed": below >= PATIENCE}
