# SPDX-License-Identifier: Apache-2.0
"""A corpus of tones: six speakers, four emotions told by pitch, in two languages."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from commands_mser.parser import MSERArgumentParser
from commands_mser.train import ARGUMENTS
from training_mser.arguments import DataArguments, ModelArguments, MSERTrainingArguments


RECIPE = Path(__file__).with_name("recipe.yaml")
PITCHES = {"neutral": 200, "happy": 500, "sad": 900, "angry": 1500}


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the reader `folder`: 72 clips of about 0.4 s and their index."""
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "emotion", "speaker", "language"])
        for speaker in range(6):
            for emotion, pitch in PITCHES.items():
                for take in range(3):
                    seconds = np.arange(int(16000 * rng.uniform(0.3, 0.5))) / 16000
                    tone = 0.3 * np.sin(2 * np.pi * pitch * rng.uniform(0.9, 1.1) * seconds)
                    path = f"{speaker}-{emotion}-{take}.wav"
                    soundfile.write(folder / path, tone + 0.01 * rng.standard_normal(len(tone)), 16000)
                    writer.writerow([path, emotion, f"s{speaker}", "en" if speaker < 3 else "pl"])
    return folder


@pytest.fixture
def recipe(tmp_path: Path):
    """Parses the tests' recipe with further flags."""

    def parse(*flags: str) -> tuple[ModelArguments, DataArguments, MSERTrainingArguments]:
        words = [str(RECIPE), "--output_dir", str(tmp_path / "run"), "--cache_dir", str(tmp_path / "cache"), *flags]
        _, *arguments = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses(words)
        return tuple(arguments)

    return parse
