# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium, driven by the DevTools protocol over its debugging pipe: no driver, no open port."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


# The browser reads commands from file 3 and writes to file 4.
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


def find_chromium() -> str | None:
    """Return the path of Chromium, or None."""
    names = ("chromium", "chromium-browser", "/usr/lib/chromium/chromium")
    return next((found for name in names if (found := shutil.which(name))), None)


class Chromium:
    """One page. A context manager.

    Args:
        program: of `find_chromium`.
    """

    def __init__(self, program: str):
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # Not 3 or 4 themselves, so that setting one does not overwrite the other.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]
        options = [
            *("--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self._profile.name}"),
            *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync", "about:blank"),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, *map(str, ends), program, *options],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        self._received, self._asked, self._session = b"", 0, None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._message()
            if reply.get("id") == self._asked:
                assert "error" not in reply, f"{method}: {reply['error']}"
                return reply["result"]

    def _message(self, seconds: float = 60.0) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._read], [], [], seconds)
            assert ready, "the browser does not respond"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser ended"
            self._received += piece
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def open(self, url: str, width: int, height: int = 900) -> None:
        """Load a page into a window of this size in CSS pixels; below 600, emulate a telephone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, f"{expression}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60.0) -> Any:
        """Wait until an expression is true and return its value."""
        end = time.monotonic() + seconds
        while not (value := self.value(expression)):
            assert time.monotonic() < end, f"after {seconds:g} s not yet: {expression}"
            time.sleep(0.1)
        return value

    def upload(self, file: Path) -> None:
        """Select a file in the first upload field."""
        page = self.ask("DOM.getDocument")["root"]["nodeId"]
        field = self.ask("DOM.querySelector", nodeId=page, selector="input[type=file]")["nodeId"]
        self.ask("DOM.setFileInputFiles", files=[str(file)], nodeId=field)

    def click(self, text: str) -> None:
        """Click the button with this label."""
        buttons = f"[...document.querySelectorAll('button')].find(one => one.innerText.trim() === {json.dumps(text)})"
        self.wait_for(f"!!{buttons}")
        self.value(f"{buttons}.click()")

    def text(self) -> str:
        """Return the visible text."""
        return self.value("document.body.innerText")

    def screenshot(self, file: Path) -> None:
        """Return the complete page as PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))
