# SPDX-License-Identifier: Apache-2.0
"""A free port for processes that a test starts."""

import socket


def free_port() -> str:
    """Return an unused port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
