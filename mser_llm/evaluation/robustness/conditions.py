# SPDX-License-Identifier: Apache-2.0
"""The conditions of robustness tests as a table: perturbation, levels, and the other clips they need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mser_llm.evaluation.robustness import channel, noise, timing
from mser_llm.io.errors import InputError


Waveform = np.ndarray
CONDITIONS_VERSION = 1
"""Increased whenever a waveform below changes: runs of another version are not resumed."""


@dataclass(frozen=True)
class Condition:
    """
    One kind of perturbation.

    Attributes:
        name: on the command line.
        title: in plots and tables.
        axis: meaning and unit of the level; empty for a single level.
        levels: from the mildest to the hardest, or in order around a `clean` level.
        apply: maps `(waveform, level, rng, partners)` to a waveform, all float at 16 kHz.
        partners: the other clips it takes: "voice" and "voices" are clips of other speakers of the same corpus; the
            language values are one clip of the same emotion by another speaker in the same or another language.
        clean: the level that changes nothing, if there are levels on both sides.
        changes: maps a duration in seconds and a level to whether the clip is changed; None if every clip is.
    """

    name: str
    title: str
    axis: str
    levels: tuple[float, ...]
    apply: Callable[[Waveform, float, np.random.Generator, Sequence[Waveform]], Waveform]
    partners: Literal["none", "voice", "voices", "same language", "other language"] = "none"
    clean: float | None = None
    changes: Callable[[float, float], bool] | None = None


_RATIOS = (20.0, 15.0, 10.0, 5.0, 0.0)
_SNR = "signal-to-noise ratio (dB)"

_TABLE = (
    Condition("white", "white noise", _SNR, _RATIOS, lambda x, level, rng, _: noise.white(x, level, rng)),
    Condition("babble", "babble of five other clips", _SNR, _RATIOS, noise.babble, partners="voices"),
    Condition(
        "reverberation",
        f"room, {noise.REVERBERATION_SECONDS:g} s reverberation",
        "direct-to-reverberant ratio (dB)",
        _RATIOS,
        lambda x, level, rng, _: noise.reverberate(x, level, rng),
    ),
    Condition(
        "overlap",
        "overlapping speaker",
        "speaker-to-other ratio (dB)",
        _RATIOS,
        lambda x, level, rng, others: noise.overlap(x, level, rng, others[0]),
        partners="voice",
    ),
    Condition("telephone", "telephone band", "", (8.0,), lambda x, *_: channel.telephone(x)),
    Condition(
        "bandwidth",
        "low-pass, no sound above",
        "kHz",
        (6.0, 4.0, 3.0, 2.0),
        lambda x, level, *_: channel.limit_band(x, level),
    ),
    Condition("mp3", "MP3", "kbit/s", (64.0, 32.0, 24.0, 16.0, 8.0), lambda x, level, *_: channel.mp3(x, level)),
    Condition(
        "opus", "Opus", "nominal kbit/s", (24.0, 16.0, 12.0, 8.0, 6.0), lambda x, level, *_: channel.opus(x, level)
    ),
    Condition(
        "clipping",
        "clipping",
        "loudest sample over full scale (dB)",
        (6.0, 12.0, 18.0, 24.0, 30.0),
        lambda x, level, *_: channel.clip(x, level),
    ),
    Condition(
        "level",
        "level",
        "gain (dB)",
        (-40.0, -20.0, -10.0, 10.0, 20.0),
        lambda x, level, *_: channel.change_level(x, level),
        clean=0.0,
    ),
    Condition(
        "speed",
        "speed (with pitch)",
        "speed factor",
        (0.7, 0.8, 0.9, 1.1, 1.2, 1.3),
        lambda x, level, *_: timing.change_speed(x, level),
        clean=1.0,
    ),
    Condition(
        "truncation",
        "truncated to the beginning",
        "kept (s)",
        (4.0, 2.0, 1.0),
        lambda x, level, *_: timing.truncate(x, level),
        changes=lambda seconds, level: seconds > level,
    ),
    Condition(
        "joined",
        "joined, same language",
        "",
        (50.0,),
        lambda x, _level, _rng, others: timing.join(x, others[0]),
        partners="same language",
    ),
    Condition(
        "code_switch",
        "joined, other language",
        "",
        (50.0,),
        lambda x, _level, _rng, others: timing.join(x, others[0]),
        partners="other language",
    ),
)
CONDITIONS: dict[str, Condition] = {condition.name: condition for condition in _TABLE}
"""By name. `joined` is the reference for `code_switch`: the same kind of join within one language."""


def select_conditions(names: Sequence[str]) -> list[Condition]:
    """Return the named conditions in the order of the table, or all if no name is given.

    Raises:
        InputError: an unknown name.
    """
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise InputError("conditions", f"unknown: {', '.join(unknown)}", f"choose from {', '.join(CONDITIONS)}")
    return [condition for condition in _TABLE if not names or condition.name in names]
