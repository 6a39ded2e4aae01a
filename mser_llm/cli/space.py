# SPDX-License-Identifier: Apache-2.0
"""`run-mser space`: serve the web page of a model's Space on this machine.

run-mser space --model runs/demo/model
"""

import signal
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mser_llm.cli.dataclass_arguments import option


HELP = "Serve a page to try a model on in the browser: microphone or upload, your words, probabilities, a timeline."


@dataclass
class SpaceArguments:
    model: str
    device: str = "auto"
    host: str = option("127.0.0.1", "address to listen at; 0.0.0.0 lets other machines in")
    port: int | None = option(None, "port to listen at; by default the first free from 7860")


ARGUMENTS = SpaceArguments


def run(args: SpaceArguments) -> None:
    """Serve the page until it is interrupted or terminated, then delete the visitors' files."""
    check_address(args.host, args.port)
    from mser_llm.hub.space import local_page, space_program

    # Service managers send SIGTERM; without this handler, the recordings of visitors would not be deleted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="mser-examples-") as folder:
        page = local_page(args.model, args.device, Path(folder))
        space_program().serve(page, server_name=args.host, server_port=args.port)


def check_address(host: str, port: int | None) -> None:
    """Check the address before a model is loaded, because gradio keeps retrying an invalid one."""
    try:
        family, *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        socket.create_server((address[0], port or 0), family=family).close()
    except (OSError, OverflowError) as error:
        place, reason = host if port is None else f"{host}:{port}", getattr(error, "strerror", None) or error
        raise ValueError(f"cannot listen at {place} ({reason}); give another --host or --port") from None
