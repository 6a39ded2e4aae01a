# SPDX-License-Identifier: Apache-2.0
"""The conditions of robustness tests as a table: perturbation, levels, and the other clips they need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mser_llm.evaluation.robustness import waveforms
from mser_llm.io.errors import InputError


BABBLE_SPEAKERS = 5
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
        apply: maps `(waveform, level, rng, *partners)` to a waveform, all float at 16 kHz.
        partners: the other clips it takes: "voice" and "voices" are clips of other speakers of the same corpus; the
            language values are one clip of the same emotion by another speaker in the same or another language.
        clean: the level that changes nothing, if there are levels on both sides.
        changes: maps a duration in seconds and a level to whether the clip is changed; None if every clip is.
    """

    name: str
    title: str
    axis: str
    levels: tuple[float, ...]
    apply: Callable[..., np.ndarray]
    partners: Literal["none", "voice", "voices", "same language", "other language"] = "none"
    clean: float | None = None
    changes: Callable[[float, float], bool] | None = None

    @property
    def num_partners(self) -> int:
        """The number of other clips it takes."""
        return {"none": 0, "voices": BABBLE_SPEAKERS}.get(self.partners, 1)


_RATIOS = (20.0, 15.0, 10.0, 5.0, 0.0)
_SNR = "signal-to-noise ratio (dB)"

_TABLE = (
    Condition("white", "white noise", _SNR, _RATIOS, waveforms.white),
    Condition("babble", "babble of five other clips", _SNR, _RATIOS, waveforms.babble, partners="voices"),
    Condition(
        "reverberation",
        f"room, {waveforms.REVERBERATION_SECONDS:g} s reverberation",
        "direct-to-reverberant ratio (dB)",
        _RATIOS,
        waveforms.reverberate,
    ),
    Condition(
        "overlap", "overlapping speaker", "speaker-to-other ratio (dB)", _RATIOS, waveforms.overlap, partners="voice"
    ),
    Condition("telephone", "telephone band", "", (8.0,), waveforms.telephone),
    Condition("bandwidth", "low-pass, no sound above", "kHz", (6.0, 4.0, 3.0, 2.0), waveforms.limit_band),
    Condition("mp3", "MP3", "kbit/s", (64.0, 32.0, 24.0, 16.0, 8.0), waveforms.mp3),
    Condition("opus", "Opus", "nominal kbit/s", (24.0, 16.0, 12.0, 8.0, 6.0), waveforms.opus),
    Condition(
        "clipping", "clipping", "loudest sample over full scale (dB)", (6.0, 12.0, 18.0, 24.0, 30.0), waveforms.clip
    ),
    Condition("level", "level", "gain (dB)", (-40.0, -20.0, -10.0, 10.0, 20.0), waveforms.change_level, clean=0.0),
    Condition(
        "speed",
        "speed (with pitch)",
        "speed factor",
        (0.7, 0.8, 0.9, 1.1, 1.2, 1.3),
        waveforms.change_speed,
        clean=1.0,
    ),
    Condition(
        "truncation",
        "truncated to the beginning",
        "kept (s)",
        (4.0, 2.0, 1.0),
        waveforms.truncate,
        changes=lambda seconds, level: seconds > level,
    ),
    Condition("joined", "joined, same language", "", (50.0,), waveforms.join, partners="same language"),
    Condition("code_switch", "joined, other language", "", (50.0,), waveforms.join, partners="other language"),
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
