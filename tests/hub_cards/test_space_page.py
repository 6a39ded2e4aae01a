# SPDX-License-Identifier: Apache-2.0
"""The page of a model without a browser: what its buttons call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from training_mser.publishing.space import space_program


pytest.importorskip("gradio", reason="the page needs gradio")


def button(page: Any, name: str) -> Callable:
    """What a page calls under a name."""
    return next(event.fn for event in page.fns.values() if event.api_name == name)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "clip.flac", 0.1 * np.sin(np.arange(16_000)), 16_000)
    return str(tmp_path / "clip.flac")


def test_examples_outlive_the_recordings_of_visitors(clip: str, tmp_path: Path, monkeypatch):
    from gradio.route_utils import delete_files_created_by_app

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    page = space_program().build(lambda sounds, words: [], ["happy", "sad"], "model", [clip])
    delete_files_created_by_app(page, age=None)
    given = button(page, "load_example")((0, [clip]))["value"]
    assert soundfile.info(given["path"]).duration == 1
