# SPDX-License-Identifier: Apache-2.0
"""The synthetic demo speech: the sentence bank spoken by espeak-ng with emotion by rule.

It lets anyone see the whole project work without a licensed corpus. Figures on it say that the machinery works; they
say nothing about people.
"""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm.auto import tqdm

from mser_llm.data.schema import new_row
from mser_llm.data.synthesis.demo_prosody import MAX_CLIP_SECONDS, RULES, colour, draw_prosody, record, spoken, trim
from mser_llm.data.synthesis.demo_sentences import DEMO_SENTENCES
from mser_llm.data.synthesis.espeak import Espeak, utterance_seed
from processing_mser.audio_mser import SAMPLING_RATE


DEMO_CORPUS = "demo-speech"
DEMO_LANGUAGES: tuple[str, ...] = ("en", "fr", "de", "it", "zh", "es")
HELD_OUT_LANGUAGES: tuple[str, ...] = ("el", "ru", "fa")
INDEX_NAME = "index.csv"
_RECIPE_NAME = "recipe.json"
# Raised whenever sentences, voices or rules change: clips of another recipe are not kept.
_RECIPE = 1
ESPEAK_LANGUAGES = {"zh": "cmn"}
NEUTRAL_WORDS_PER_MINUTE = 165


@dataclass(frozen=True)
class Voice:
    """One speaker of the demo: an espeak-ng voice variant with a pitch, a tempo and a timbre of its own."""

    variant: str
    gender: str
    pitch: float
    """Semitones from the variant's own."""
    rate: float
    """Octaves from the neutral tempo."""
    tilt: float
    """dB per octave."""

    @property
    def speaker(self) -> str:
        return f"{DEMO_CORPUS}-{self.variant}"


VOICES: tuple[Voice, ...] = (
    Voice("f2", "female", 0.0, 0.00, 0.0),
    Voice("m3", "male", 0.0, 0.05, 0.0),
    Voice("f5", "female", 1.0, 0.08, -0.5),
    Voice("m7", "male", -1.0, -0.06, 0.4),
    Voice("linda", "female", -1.0, -0.05, -0.4),
    Voice("m1", "male", 2.0, 0.02, -0.3),
    Voice("f3", "female", -2.0, 0.04, 0.5),
    Voice("m6", "male", 1.0, -0.08, 0.3),
    Voice("shelby", "female", 0.5, -0.02, -0.6),
    Voice("max", "male", -0.5, 0.07, 0.6),
)
HELD_OUT_VOICES: tuple[Voice, ...] = (
    Voice("f4", "female", 1.0, 0.03, 0.2),
    Voice("m4", "male", 0.5, 0.00, 0.2),
    Voice("belinda", "female", -1.5, -0.04, -0.2),
    Voice("m8", "male", 1.5, 0.05, 0.5),
    Voice("grandma", "female", 0.0, 0.06, -0.2),
    Voice("Michael", "male", 0.0, -0.05, 0.3),
)


def demo_rows(
    output_dir: str | Path, *, languages: Sequence[str], clips_per_language: int | Mapping[str, int], seed: int
) -> list[dict[str, Any]]:
    """The rows of the demo speech, before anything is spoken (`duration` is null).

    Row `i` of a language depends on the language, `i` and the seed alone: a larger demo begins with the smaller one.
    Emotions and voices go round in turn; the sentence is drawn. `split` is `test` for the held-out languages.

    Raises:
        ValueError: a language without sentences, or a number of clips that is not positive.
    """
    rows = []
    for language in languages:
        if language not in DEMO_SENTENCES:
            raise ValueError(f"demo speech has no language {language!r}; choose from {', '.join(DEMO_SENTENCES)}")
        count = clips_per_language if isinstance(clips_per_language, int) else clips_per_language.get(language, 0)
        if count < 1:
            raise ValueError(f"demo speech in {language!r} has {count} clips; give a positive number")
        held_out = language in HELD_OUT_LANGUAGES
        voices = HELD_OUT_VOICES if held_out else VOICES
        for i in range(count):
            row_id = f"{DEMO_CORPUS}-{language}-{seed}-{i:05d}"
            turn, place = divmod(i, len(RULES))
            voice = voices[(turn + place) % len(voices)]
            chance = np.random.default_rng(utterance_seed(row_id, "sentence", seed))
            rows.append(
                new_row(
                    id=row_id,
                    path=Path(output_dir, "audio", language, f"{row_id}.flac"),
                    corpus=DEMO_CORPUS,
                    emotion=list(RULES)[place],
                    language=language,
                    speaker=voice.speaker,
                    gender=voice.gender,
                    transcript=DEMO_SENTENCES[language][chance.integers(len(DEMO_SENTENCES[language]))],
                    split="test" if held_out else "train",
                )
            )
    return rows


def write_demo_speech(
    output_dir: str | Path,
    *,
    languages: Sequence[str] = DEMO_LANGUAGES + HELD_OUT_LANGUAGES,
    clips_per_language: int | Mapping[str, int],
    seed: int = 0,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Speak the demo speech into a folder, or finish one that was interrupted.

    Writes 16 kHz FLAC files under `audio/LANGUAGE/` and `index.csv`, which the corpus `folder` reads. A clip appears
    under its name only when whole, and clips that are there are kept.

    Args:
        output_dir: made if need be.
        languages: of `DEMO_LANGUAGES` and `HELD_OUT_LANGUAGES`.
        clips_per_language: one number for all, or one for each language.
        seed: another seed gives other clips, under other names.
        progress: shows a progress bar.

    Returns:
        the rows, in order, with `duration` in seconds.

    Raises:
        EspeakError: the extra `demo` is not installed, or espeak-ng cannot speak.
        ValueError: see [`demo_rows`].
    """
    output_dir = Path(output_dir)
    rows = demo_rows(output_dir, languages=languages, clips_per_language=clips_per_language, seed=seed)
    keep = _same_recipe(output_dir)
    espeak = None
    try:
        for row in tqdm(rows, desc="demo speech", unit="clip", disable=not progress):
            path = Path(row["audio"]["path"])
            row["duration"] = _duration(path) if keep else None
            if row["duration"] is None:
                espeak = espeak or Espeak()
                clip = speak_row(espeak, row, seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_name(f".{path.name}.{os.getpid()}")
                soundfile.write(temporary, clip, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
                os.replace(temporary, path)
                row["duration"] = len(clip) / SAMPLING_RATE
    finally:
        if espeak is not None:
            espeak.close()
    _write_index(output_dir, rows)
    return rows


def speak_row(espeak: Espeak, row: Mapping[str, Any], seed: int) -> np.ndarray:
    """One row's sound, the same in any order and any process.

    Returns:
        float32 array (samples,) at 16 kHz, 1 to 3 s.
    """
    voice = next(voice for voice in VOICES + HELD_OUT_VOICES if voice.speaker == row["speaker"])
    number = utterance_seed(row["id"], row["language"], seed)
    rng = np.random.default_rng(number)
    habits = np.random.default_rng(utterance_seed(voice.speaker, row["emotion"], seed))
    prosody = draw_prosody(row["emotion"], habits, rng)
    rate, pitch, pitch_range = spoken(prosody)
    language = ESPEAK_LANGUAGES.get(row["language"], row["language"])
    # Half a second of room for the silence around the speech, and what a lower smile or a falling bend adds to it.
    longest = int((MAX_CLIP_SECONDS - 0.5) * espeak.sampling_rate * 2 ** ((prosody.smile + prosody.bend / 4) / 12))
    octaves = voice.rate + rate
    while True:
        samples = espeak.speak(
            row["transcript"],
            voice=f"{language}+{voice.variant}",
            seed=number,
            rate=int(np.clip(NEUTRAL_WORDS_PER_MINUTE * 2**octaves, 80, 450)),
            # The library's scale from 0 to 99 spans two octaves around 50.
            pitch=int(np.clip(50 + (voice.pitch + pitch) * 99 / 24, 0, 99)),
            pitch_range=int(np.clip(50 * 2**pitch_range, 0, 99)),
        )
        speech = trim(samples.astype(np.float64) / 32768, espeak.sampling_rate)
        if len(speech) <= longest:
            break
        octaves += np.log2(len(speech) / longest) + 0.05
    timbre = replace(prosody, tilt=prosody.tilt + voice.tilt)
    return record(colour(speech, espeak.sampling_rate, timbre, rng), espeak.sampling_rate, rng)


def _duration(path: Path) -> float | None:
    """Seconds of a whole clip; None if it is not there or cannot be read."""
    try:
        return soundfile.info(path).duration
    except soundfile.LibsndfileError:
        return None


def _same_recipe(output_dir: Path) -> bool:
    """Whether clips that lie in the folder are this version's; marks the folder as this version's from now on."""
    path = output_dir / _RECIPE_NAME
    try:
        same = json.loads(path.read_text(encoding="utf-8")) == {"recipe": _RECIPE}
    except (FileNotFoundError, json.JSONDecodeError):
        same = False
    if not same:
        for clip in output_dir.glob(f"audio/*/{DEMO_CORPUS}-*.flac"):
            clip.unlink()
        output_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"recipe": _RECIPE}), encoding="utf-8")
    return same


def _write_index(output_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = ["path", "emotion", "speaker", "language", "gender", "transcript", "split"]
    temporary = output_dir / f".{INDEX_NAME}.{os.getpid()}"
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "path": Path(row["audio"]["path"]).relative_to(output_dir).as_posix()})
    os.replace(temporary, output_dir / INDEX_NAME)
