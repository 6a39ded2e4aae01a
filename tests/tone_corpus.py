# SPDX-License-Identifier: Apache-2.0
"""Write a corpus of tones for the reader `folder`: four emotions that differ in pitch."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile


PITCHES = {"neutral": 200, "happy": 500, "sad": 900, "angry": 1500}


def write_tones(folder: Path, languages: Mapping[str, str], takes: int = 3, seed: int = 0) -> Path:
    """Write clips of about 0.4 s and their index: `takes` of each emotion by each speaker, given with its language."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "emotion", "speaker", "language", "gender"])
        for number, (speaker, language) in enumerate(languages.items()):
            for emotion, pitch in PITCHES.items():
                for take in range(takes):
                    seconds = np.arange(int(16000 * rng.uniform(0.3, 0.5))) / 16000
                    tone = 0.3 * np.sin(2 * np.pi * pitch * rng.uniform(0.9, 1.1) * seconds)
                    path = f"{speaker}-{emotion}-{take}.wav"
                    soundfile.write(folder / path, tone + 0.01 * rng.standard_normal(len(tone)), 16000)
                    writer.writerow([path, emotion, speaker, language, ("female", "male")[number % 2]])
    return folder
