# SPDX-License-Identifier: Apache-2.0
"""Generate a folder of clips, and build a corpus from it."""

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from mser_llm.m5ser.build_config import BuildConfig


ROOT = Path(__file__).resolve().parents[2]
EMOTIONS = ("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear")
TOY = "m5ser_building.toy_translators:Toy"


def write_corpus(folder: Path, names: Sequence[str], seconds: float = 0.6) -> Path:
    """Write one tone per name, cycling through the emotions and four speakers; return the folder."""
    (folder / "clips").mkdir(parents=True)
    with open(folder / "index.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "emotion", "speaker", "language", "transcript"])
        for i, name in enumerate(names):
            time = np.arange(round(16_000 * seconds)) / 16_000
            tone = 0.3 * np.sin(2 * np.pi * (120 + 7 * i) * time)
            soundfile.write(folder / "clips" / f"{name}.wav", tone, 16_000)
            table.writerow([f"clips/{name}.wav", EMOTIONS[i % 7], f"s{i % 4}", "en", f"sentence {i}"])
    return folder


def toy_config(corpus: Path, output: Path, **changes: Any) -> BuildConfig:
    """Return the configuration of a small build with the toy translator."""
    values: dict[str, Any] = {
        "corpora": [f"folder={corpus}"],
        "output_dir": str(output),
        "languages": ["fr", "de"],
        "translator": TOY,
        "min_kilobytes": ["default=0"],
        "batch_size": 4,
    }
    return BuildConfig(**{**values, **changes})


def build_command(corpus: Path, output: Path, *flags: str) -> list[str]:
    """Return the command line of the same build."""
    arguments = ["--corpora", f"folder={corpus}", "--output_dir", str(output), "--languages", "fr", "de"]
    arguments += ["--translator", TOY, "--min_kilobytes", "default=0", "--batch_size", "4", *flags]
    return [sys.executable, str(ROOT / "run_mser.py"), "m5ser", "build", *arguments]


def environment() -> dict[str, str]:
    """Return the environment of a command that imports the toy translators."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), "OMP_NUM_THREADS": "1"}


def run_build(corpus: Path, output: Path, *flags: str, **kwargs: Any) -> subprocess.CompletedProcess:
    """Run the command and wait for it."""
    command = build_command(corpus, output, *flags)
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, **kwargs)
