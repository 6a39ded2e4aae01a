# SPDX-License-Identifier: Apache-2.0
"""Verify a push: load the model as others do and compare its scores with those of the local folder."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from mser_llm.hub.upload import PushError
from processing_mser.audio_mser import SAMPLING_RATE


TOLERANCE = 1e-4
# Runs in a process that cannot import this project.
_WITHOUT_PROJECT = """
import json, sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name in ("mser_llm", "modeling_mser", "processing_mser"):
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, NotInstalled())
from transformers import pipeline
place, clip, labels = sys.argv[1:]
classify = pipeline("audio-classification", model=place, trust_remote_code=True)
result = classify(clip, candidate_labels=json.loads(labels))
print(json.dumps({entry["label"]: entry["score"] for entry in result}))
"""


def verify_pushed(repo_id: str, folder: Path, labels: Sequence[str]) -> str:
    """
    Download the repository into an empty cache and compare its scores for one clip with those of the pushed folder.

    Returns a line with the difference. Raises a `PushError` if the model cannot be loaded, or if its scores differ.
    """
    with tempfile.TemporaryDirectory(prefix="mser-verify-") as temporary:
        clip = Path(temporary, "clip.wav")
        # Noise whose level changes twice per second; any sound is suitable.
        time = np.arange(2 * SAMPLING_RATE) / SAMPLING_RATE
        noise = np.random.default_rng(0).normal(size=len(time)) * np.sin(2 * np.pi * time) ** 2
        soundfile.write(clip, 0.1 * noise, SAMPLING_RATE)
        local, remote = (_scores(place, clip, labels, temporary) for place in (str(folder), repo_id))
    difference = max(abs(local[label] - remote[label]) for label in labels)
    if difference > TOLERANCE:
        raise PushError(
            repo_id,
            f"its scores differ from the local ones by {difference:.2g}, perhaps because a backbone was changed",
            "run the same command again; if they still differ, delete the repository",
        )
    return f"verified: scores of {repo_id}, loaded into an empty cache, equal the local ones to {difference:.1g}"


def _scores(place: str, clip: Path, labels: Sequence[str], temporary: str) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Empty caches of files and of remote code; the token is kept.
    environment |= {"HF_HUB_CACHE": f"{temporary}/hub", "HF_MODULES_CACHE": f"{temporary}/modules"}
    command = [sys.executable, "-P", "-c", _WITHOUT_PROJECT, place, str(clip), json.dumps(list(labels))]
    done = subprocess.run(command, cwd=temporary, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PushError(place, f"was pushed but does not load without this project: {last_line}")
    return json.loads(done.stdout.splitlines()[-1])
