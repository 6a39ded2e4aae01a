# SPDX-License-Identifier: Apache-2.0
"""Where processes that a test starts can meet."""

import socket


def free_port() -> str:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
