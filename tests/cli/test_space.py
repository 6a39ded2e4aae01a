# SPDX-License-Identifier: Apache-2.0
"""The address of `run-mser space`; tests/hub_cards tests the page."""

import socket

import pytest

from run_mser import main


def test_space_rejects_an_unusable_address_before_loading(capsys: pytest.CaptureFixture):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flags, place in (
            (["--host", "300.1.1.1"], "300.1.1.1"),
            (["--port", str(port)], f"127.0.0.1:{port}"),
            (["--port", "70000"], "127.0.0.1:70000"),
        ):
            assert main(["space", "--model", "nowhere", *flags]) == 2
            err = capsys.readouterr().err
            assert err.startswith(f"run-mser: error: cannot listen at {place} (") and err.count("\n") == 1
            assert "give another --host or --port" in err
