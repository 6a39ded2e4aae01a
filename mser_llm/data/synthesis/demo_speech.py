# SPDX-License-Identifier: Apache-2.0
"""Generate the synthetic demo speech: sentences spoken by espeak-ng with emotions by rule.

It lets anyone run the complete project without a licensed corpus. Metrics on it show that the parts work together;
they say nothing about human speech.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm.auto import tqdm

from mser_llm.data.schema import new_row
from mser_llm.data.synthesis.demo_prosody import (
    MAX_CLIP_SECONDS,
    RULES,
    add_background,
    apply_prosody,
    draw_prosody,
    synthesizer_prosody,
    trim_silence,
)
from mser_llm.data.synthesis.espeak import Espeak, utterance_seed
from mser_llm.io.atomic_files import atomic_open, write_json
from mser_llm.io.errors import InputError
from processing_mser.audio_mser import SAMPLING_RATE


DEMO_CORPUS = "demo-speech"
DEMO_LANGUAGES: tuple[str, ...] = ("en", "fr", "de", "it", "zh", "es")
HELD_OUT_LANGUAGES: tuple[str, ...] = ("el", "ru", "fa")
# Increased whenever sentences, voices or rules change: clips of another recipe are not reused.
_RECIPE = 1
ESPEAK_LANGUAGES = {"zh": "cmn"}
NEUTRAL_WORDS_PER_MINUTE = 165


def _read_sentences() -> dict[str, tuple[str, ...]]:
    with open(Path(__file__).with_name("demo_sentences.csv"), newline="", encoding="utf-8") as file:
        languages, *lines = csv.reader(file)
    return dict(zip(languages, zip(*lines, strict=True), strict=True))


DEMO_SENTENCES: dict[str, tuple[str, ...]] = _read_sentences()
"""Language to everyday statements without emotion, written for this project. Sentence `i` means the same in every
language, so the words do not reveal the emotion."""


@dataclass(frozen=True)
class Voice:
    """A speaker of the demo: an espeak-ng voice variant with its own pitch, tempo and timbre."""

    variant: str
    gender: str
    pitch: float
    """Semitones relative to the variant."""
    rate: float
    """Octaves relative to the neutral tempo."""
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
    """
    Create the rows of the demo speech without generating audio (`duration` is null).

    Row `i` of a language depends only on the language, `i` and the seed: a larger demo starts with the rows of a
    smaller one. Emotions and voices alternate; the sentence is random. `split` is `test` for the held-out languages.

    Raises:
        InputError: a language without sentences, or a number of clips that is not positive.
    """
    rows = []
    for language in languages:
        if language not in DEMO_SENTENCES:
            fix = f"choose from {', '.join(DEMO_SENTENCES)}"
            raise InputError(f"language {language!r}", "demo speech has no sentences in it", fix)
        count = clips_per_language if isinstance(clips_per_language, int) else clips_per_language.get(language, 0)
        if count < 1:
            raise InputError(f"clips_per_language of {language!r}", f"is {count}", "pass a positive number")
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
    """
    Write the demo speech to a folder, or resume after an interruption.

    Writes 16 kHz FLAC files under `audio/LANGUAGE/` and `index.csv`, which the corpus `folder` reads. Files are
    written atomically, and existing clips are reused.

    Args:
        output_dir: created if necessary.
        languages: of `DEMO_LANGUAGES` and `HELD_OUT_LANGUAGES`.
        clips_per_language: one number for all languages, or one for each.
        seed: another seed gives other clips, with other names.
        progress: show a progress bar.

    Returns:
        the rows, in order, with `duration` in seconds.

    Raises:
        EspeakError: the extra `demo` is not installed, or espeak-ng cannot speak.
        InputError: see [`demo_rows`].
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
                with atomic_open(path, "wb") as file:
                    soundfile.write(file, clip, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
                row["duration"] = len(clip) / SAMPLING_RATE
    finally:
        if espeak is not None:
            espeak.close()
    _write_index(output_dir, rows)
    return rows


def speak_row(espeak: Espeak, row: Mapping[str, Any], seed: int) -> np.ndarray:
    """
    Generate the audio of a row, identical in any order and any process.

    Returns:
        float32 array (samples,) at 16 kHz, 1 to 3 s.
    """
    voice = next(voice for voice in VOICES + HELD_OUT_VOICES if voice.speaker == row["speaker"])
    number = utterance_seed(row["id"], row["language"], seed)
    rng = np.random.default_rng(number)
    habits = np.random.default_rng(utterance_seed(voice.speaker, row["emotion"], seed))
    prosody = draw_prosody(row["emotion"], habits, rng)
    rate, pitch, pitch_range = synthesizer_prosody(prosody)
    language = ESPEAK_LANGUAGES.get(row["language"], row["language"])
    # Half a second is reserved for silence. A negative smile or bend makes the speech longer.
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
        speech = trim_silence(samples.astype(np.float64) / 32768, espeak.sampling_rate)
        if len(speech) <= longest:
            break
        octaves += np.log2(len(speech) / longest) + 0.05
    timbre = replace(prosody, tilt=prosody.tilt + voice.tilt)
    speech = apply_prosody(speech, espeak.sampling_rate, timbre, rng)
    return add_background(speech, espeak.sampling_rate, rng)


def _duration(path: Path) -> float | None:
    """Duration of a clip in seconds; None if it does not exist or cannot be read."""
    try:
        return soundfile.info(path).duration
    except soundfile.LibsndfileError:
        return None


def _same_recipe(output_dir: Path) -> bool:
    """Whether existing clips were generated by this version; if not, delete them and mark the folder."""
    path = output_dir / "recipe.json"
    try:
        same = json.loads(path.read_text(encoding="utf-8")) == {"recipe": _RECIPE}
    except (FileNotFoundError, json.JSONDecodeError):
        same = False
    if not same:
        for clip in output_dir.glob(f"audio/*/{DEMO_CORPUS}-*.flac"):
            clip.unlink()
        write_json(path, {"recipe": _RECIPE})
    return same


def _write_index(output_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = ["path", "emotion", "speaker", "language", "gender", "transcript", "split"]
    with atomic_open(output_dir / "index.csv") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "path": Path(row["audio"]["path"]).relative_to(output_dir).as_posix()})
