# SPDX-License-Identifier: Apache-2.0
"""Protocols as data: labels, splits, leak checks and published results."""

import difflib
import re

from mser_llm.evaluation.protocols.cross_lingual import CROSS_LINGUAL, cross_lingual
from mser_llm.evaluation.protocols.folds import (
    Fold,
    FullCorpus,
    KFold,
    LeaveLanguageOut,
    LeaveOneSessionOut,
    OfficialSplit,
    ProtocolError,
    resolve_fold,
)
from mser_llm.evaluation.protocols.leaks import LeakReport, check_leak, check_model_leak, remove_leaks
from mser_llm.evaluation.protocols.low_resource_paper import LOW_RESOURCE_PAPER
from mser_llm.evaluation.protocols.mser_paper import MSER_PAPER
from mser_llm.evaluation.protocols.protocol import (
    Protocol,
    Published,
    format_published,
    plan_evaluation,
    published_table,
)
from mser_llm.evaluation.protocols.training_record import (
    TrainingRecord,
    UnlabeledTraining,
    read_training_record,
    record_from_rows,
)


PROTOCOLS: dict[str, Protocol] = {one.name: one for one in (*MSER_PAPER, *LOW_RESOURCE_PAPER, *CROSS_LINGUAL)}


def find_protocol(name: str) -> Protocol:
    """Return a protocol of `PROTOCOLS`, or the cross-lingual setting of a name such as `en+pl-to-de`.

    Raises:
        ProtocolError: there is no such protocol.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if setting := re.fullmatch(r"([a-z]{2}(?:\+[a-z]{2})*)-to-([a-z]{2})", name):
        return cross_lingual(tuple(setting[1].split("+")), setting[2])
    nearest = difflib.get_close_matches(name, PROTOCOLS, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    fix = "see run-mser protocols, or name languages as in en+pl-to-de"
    raise ProtocolError(f"protocol {name}", f"is unknown{hint}", fix)


__all__ = [
    "PROTOCOLS",
    "Fold",
    "FullCorpus",
    "KFold",
    "LeakReport",
    "LeaveLanguageOut",
    "LeaveOneSessionOut",
    "OfficialSplit",
    "Protocol",
    "ProtocolError",
    "Published",
    "TrainingRecord",
    "UnlabeledTraining",
    "check_leak",
    "check_model_leak",
    "cross_lingual",
    "find_protocol",
    "format_published",
    "plan_evaluation",
    "published_table",
    "read_training_record",
    "record_from_rows",
    "remove_leaks",
    "resolve_fold",
]
