# SPDX-License-Identifier: Apache-2.0
"""Whether the Hub can be reached: asked once and briefly, where the libraries ask for file after file, for minutes."""

import os
from collections.abc import Mapping
from typing import Any

from huggingface_hub import constants, get_session
from huggingface_hub.errors import HTTPError


SECONDS_TO_ANSWER = 5.0


def hub_options(path_or_id: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """
    How `from_pretrained` should look for a folder or a repository.

    Args:
        path_or_id: folder or Hub id.
        given: arguments of `from_pretrained`.

    Returns:
        `{"local_files_only": True}` where it is no folder and the Hub does not answer: what lies in the cache serves,
        and what does not is told at once. Else nothing.
    """
    if os.path.exists(path_or_id) or (given or {}).get("local_files_only") is not None:
        return {}
    try:
        # Any answer will do.
        get_session().head(constants.ENDPOINT, timeout=SECONDS_TO_ANSWER)
    except (HTTPError, OSError):
        return {"local_files_only": True}
    return {}


__all__ = ["hub_options"]
