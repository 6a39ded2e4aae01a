# SPDX-License-Identifier: Apache-2.0
"""Tests as data: for each the words, the division, what leaks are refused, and the published numbers."""

import difflib

from mser_llm.evaluation.protocols.comparison import comparison, comparison_table
from mser_llm.evaluation.protocols.cross_lingual import CROSS_LINGUAL, cross_lingual, named_setting
from mser_llm.evaluation.protocols.folds import (
    Fold,
    KFold,
    LeaveLanguageOut,
    LeaveOneOut,
    OfficialSplit,
    ProtocolError,
    Whole,
    find_fold,
)
from mser_llm.evaluation.protocols.leaks import LeakReport, check_leak, without_leaks
from mser_llm.evaluation.protocols.low_resource_paper import LOW_RESOURCE_PAPER
from mser_llm.evaluation.protocols.measurement import Measurement, check_model, measurement
from mser_llm.evaluation.protocols.mser_paper import MSER_PAPER
from mser_llm.evaluation.protocols.protocol import Protocol, Published
from mser_llm.evaluation.protocols.training_record import (
    HeardUnlabelled,
    TrainingRecord,
    read_training_record,
    record_of,
)


PROTOCOLS: dict[str, Protocol] = {one.name: one for one in (*MSER_PAPER, *LOW_RESOURCE_PAPER, *CROSS_LINGUAL)}


def find_protocol(name: str) -> Protocol:
    """A protocol of `PROTOCOLS`, or the setting that a name such as `en+pl-to-de` describes.

    Raises:
        ProtocolError: there is none; the message names the nearest.
    """
    found = PROTOCOLS.get(name) or named_setting(name)
    if found is None:
        nearest = difflib.get_close_matches(name, PROTOCOLS, n=1)
        raise ProtocolError(
            f"there is no protocol {name!r}{f' (did you mean {nearest[0]}?)' if nearest else ''}; run-mser protocols "
            "lists them, and languages are written as en+pl-to-de"
        )
    return found


__all__ = [
    "PROTOCOLS",
    "Fold",
    "HeardUnlabelled",
    "KFold",
    "LeakReport",
    "LeaveLanguageOut",
    "LeaveOneOut",
    "Measurement",
    "OfficialSplit",
    "Protocol",
    "ProtocolError",
    "Published",
    "TrainingRecord",
    "Whole",
    "check_leak",
    "check_model",
    "comparison",
    "comparison_table",
    "cross_lingual",
    "find_fold",
    "find_protocol",
    "measurement",
    "named_setting",
    "read_training_record",
    "record_of",
    "without_leaks",
]
