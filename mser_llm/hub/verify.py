# SPDX-License-Identifier: Apache-2.0
"""The proof of a push: loaded as a stranger loads it, the model answers as it does here."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from mser_llm.hub.errors import PushError
from processing_mser.audio_mser import SAMPLING_RATE


TOLERANCE = 1e-4
# In a process where this project cannot be imported, installed or not.
_STRANGER = """
import json, sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.endswith("_mser") and "." not in name:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, NotInstalled())
from transformers import pipeline
place, clip, words = sys.argv[1:]
recognize = pipeline("audio-classification", model=place, trust_remote_code=True)
answer = recognize(clip, candidate_labels=json.loads(words))
print(json.dumps({one["label"]: one["score"] for one in answer}))
"""


def verify_pushed(repo_id: str, folder: Path, words: Sequence[str]) -> str:
    """
    Downloads the repository into an empty cache and compares its answer to one clip with that of the folder.

    Args:
        repo_id: of the model on the Hub.
        folder: what was pushed.
        words: the candidate words.

    Returns:
        a line that says how far the answers are apart.

    Raises:
        PushError: it cannot be loaded from the Hub, or it answers otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="mser-verify-") as temporary:
        clip = Path(temporary, "clip.wav")
        # Any sound will do: noise that swells and falls twice a second.
        time = np.arange(2 * SAMPLING_RATE) / SAMPLING_RATE
        noise = np.random.default_rng(0).normal(size=len(time)) * np.sin(2 * np.pi * time) ** 2
        soundfile.write(clip, 0.1 * noise, SAMPLING_RATE)
        here, there = (_answer(place, clip, words, temporary) for place in (str(folder), repo_id))
    apart = max(abs(here[word] - there[word]) for word in words)
    if apart > TOLERANCE:
        raise PushError(
            f"{repo_id}: answers otherwise than the model here, by {apart:.2g}; was a backbone changed? Run the same "
            "command again, and delete the repository if it says so again"
        )
    return f"verified: loaded from {repo_id} into an empty cache it answers as it does here, to {apart:.1g}"


def _answer(place: str, clip: Path, words: Sequence[str], temporary: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # The token is kept; the caches of files and of remote code are not.
    environment |= {"HF_HUB_CACHE": f"{temporary}/hub", "HF_MODULES_CACHE": f"{temporary}/modules"}
    command = [sys.executable, "-P", "-c", _STRANGER, place, str(clip), json.dumps(list(words))]
    done = subprocess.run(command, cwd=temporary, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PushError(f"{place}: was pushed and cannot be loaded as others would load it: {last}")
    return json.loads(done.stdout.splitlines()[-1])
