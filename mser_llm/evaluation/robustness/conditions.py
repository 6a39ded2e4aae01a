# SPDX-License-Identifier: Apache-2.0
"""The disturbances as a table: what each does, how strongly, and which other clips it needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mser_llm.evaluation.robustness import channel, noise, timing


Waveform = np.ndarray
CONDITIONS_VERSION = 1
"""Raised whenever a waveform below comes out otherwise: answers to another version are not gone on with."""


@dataclass(frozen=True)
class Condition:
    """
    One kind of disturbance.

    Attributes:
        name: on the command line.
        title: in pictures and tables.
        axis: what a level is, with its unit; empty where there is one level alone.
        levels: from the mildest to the hardest, or in order where there is a `clean` level between them.
        apply: `(waveform, level, chance, partners)` to a waveform, all float at 16 kHz.
        partners: which other clips it is given: so many of other speakers of the same corpus, or one of the same
            emotion by another speaker, in the same language or in another.
        clean: the level that changes nothing, where levels lie on both sides of it.
        changes: whether a clip of so many seconds is changed at a level; None where every clip is.
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
    Condition("white", "white noise", _SNR, _RATIOS, lambda x, level, chance, _: noise.white(x, level, chance)),
    Condition("babble", "babble of five other clips", _SNR, _RATIOS, noise.babble, partners="voices"),
    Condition(
        "reverberation",
        f"room, {noise.REVERBERATION_SECONDS:g} s reverberation",
        "direct-to-reverberant ratio (dB)",
        _RATIOS,
        lambda x, level, chance, _: noise.reverberate(x, level, chance),
    ),
    Condition(
        "overlap",
        "another speaker at once",
        "speaker-to-other ratio (dB)",
        _RATIOS,
        lambda x, level, chance, others: noise.overlap(x, level, chance, others[0]),
        partners="voice",
    ),
    Condition("telephone", "telephone band", "", (8.0,), lambda x, *_: channel.telephone(x)),
    Condition(
        "bandwidth",
        "no sound above",
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
        "speed, pitch with it",
        "times as fast",
        (0.7, 0.8, 0.9, 1.1, 1.2, 1.3),
        lambda x, level, *_: timing.change_speed(x, level),
        clean=1.0,
    ),
    Condition(
        "truncation",
        "the beginning alone",
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
        lambda x, _level, _chance, others: timing.join(x, others[0]),
        partners="same language",
    ),
    Condition(
        "code_switch",
        "joined, other language",
        "",
        (50.0,),
        lambda x, _level, _chance, others: timing.join(x, others[0]),
        partners="other language",
    ),
)
CONDITIONS: dict[str, Condition] = {condition.name: condition for condition in _TABLE}
"""By name. `joined` is what `code_switch` is to be compared with: a join of the same kind within one language."""


def select_conditions(names: Sequence[str]) -> list[Condition]:
    """The conditions of these names, in the order of the table; of no names, all.

    Raises:
        ValueError: an unknown name.
    """
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise ValueError(f"there is no condition {', '.join(unknown)}; choose from {', '.join(CONDITIONS)}")
    return [condition for condition in _TABLE if not names or condition.name in names]
