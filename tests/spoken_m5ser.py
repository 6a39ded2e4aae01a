# SPDX-License-Identifier: Apache-2.0
"""Write a small synthetic corpus in M5SER's layout: each emotion has a pitch, each language a timbre."""

import io
from pathlib import Path

import numpy as np
import soundfile
from m5ser_folder import row, write_m5ser


EMOTIONS = ("neutral", "happy", "sad")
PITCH = {"neutral": 0.0, "happy": 5.0, "sad": -4.0}
LOUDNESS = {"neutral": 0.0, "happy": 4.0, "sad": -6.0}


def buzz(semitones: float, decibels: float, seconds: float, darkness: float, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    course = semitones + rng.uniform(-1, 1) * np.linspace(0, 2, int(16_000 * seconds))
    phase = 2 * np.pi * np.cumsum(140 * 2 ** (course / 12)) / 16_000
    wave = sum(np.sin(number * phase) / number**darkness for number in range(1, 12))
    wave = wave / wave.std() + 0.02 * rng.standard_normal(len(wave))
    file = io.BytesIO()
    soundfile.write(file, 0.03 * 10 ** (decibels / 20) * wave, 16_000, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def spoken_rows(languages=("en", "fr"), speakers=4, clips=3, kept=1.0):
    """Generate clips of each language; translations keep a fraction of pitch and loudness."""
    rows = {language: [] for language in languages}
    for speaker in range(speakers):
        for emotion in EMOTIONS:
            for clip in range(clips):
                name = f"{speaker:02d}-{emotion}-{clip}"
                drawn = np.random.default_rng([speaker, EMOTIONS.index(emotion), clip]).standard_normal(3)
                for number, language in enumerate(languages):
                    share = 1.0 if language == "en" else kept
                    semitones = share * (PITCH[emotion] + drawn[0]) + 3 * speaker
                    decibels = share * (LOUDNESS[emotion] + drawn[1])
                    seconds = 0.35 * 1.1 ** (drawn[2] + number)
                    seed = hash((speaker, EMOTIONS.index(emotion), clip, number)) % 2**32
                    sound = buzz(semitones, decibels, seconds, 1.0 + 0.2 * number, seed)
                    columns = {"emotion": emotion, "speaker": f"ravdess-{speaker}", "duration": seconds}
                    clip_row = row("ravdess", name, language) | columns
                    rows[language].append(clip_row | {"audio": {"bytes": sound, "path": f"{name}.flac"}})
    return rows


def write_spoken(root: Path, **settings) -> Path:
    return write_m5ser(root, spoken_rows(**settings))
