# SPDX-License-Identifier: Apache-2.0
"""The distribution's headless Chromium, driven by playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def open_chromium() -> Iterator[Any]:
    """Start the browser and yield it as a `playwright.sync_api.Browser`; skip the test without one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    names = ("chromium", "chromium-browser", "/usr/lib/chromium/chromium")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no chromium on this machine; apt install chromium")
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    with (
        playwright.sync_playwright() as driver,
        driver.chromium.launch(executable_path=program, args=options) as browser,
    ):
        yield browser
