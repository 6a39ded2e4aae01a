# SPDX-License-Identifier: Apache-2.0
"""Train on one fold of a protocol: which rows, and which parts of the corpora's own divisions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mser_llm.evaluation.protocols import Fold, FullCorpus, Protocol, resolve_fold
from mser_llm.training.arguments import DataArguments
from processing_mser import LABEL_SETS


Row = Mapping[str, Any]


def training_fold(
    protocol: Protocol, rows: Sequence[Row], data: DataArguments, fold: str | None = None, *, allow_leak: bool = False
) -> Fold:
    """
    The fold of a protocol that a model is trained for.

    Args:
        protocol: the test.
        rows: of all corpora given. The protocol divides those of its own; the others are trained on in every fold,
            M5SER less what it holds of the fold's test.
        data: whether clips without a known emotion are kept.
        fold: name or number, from 1; not needed where there is one.
        allow_leak: keep a fold whose training shares speakers or recordings with its test, such as MELD's.

    Raises:
        ProtocolError: no such fold, or several and none is named.
        SpeakerLeakError: training and test of the fold share speakers or recordings.
    """
    own = [row for row in rows if row["corpus"] in protocol.corpora]
    others = [row for row in rows if row["corpus"] not in protocol.corpora]
    unlabelled = data.unlabelled or bool(data.labelled_languages or data.unlabelled_corpora)
    if not own and isinstance(protocol.split, FullCorpus):
        # A zero-shot test need not be at hand to be trained for; training still must not hold translations of it.
        train = tuple(protocol.training_rows(others, unlabelled=unlabelled))
        return Fold("whole", train, (), (), leak=protocol.check(train, (), allow=allow_leak))
    names = [one.name for one in protocol.divide(own)]
    chosen = resolve_fold(protocol.name, names, fold)
    folds = protocol.folds(own, others, allow_leak=allow_leak, unlabelled=unlabelled, only=chosen)
    return folds[0]


def arguments_for_fold(data: DataArguments, fold: Fold, protocol: Protocol) -> DataArguments:
    """
    A recipe's data arguments for the rows of a fold: its words, and parts that match what the fold trains on.

    A part of the protocol's corpora that the fold trains on is added to `train_splits`, where the recipe names any.
    The fold's own validation part is added to `validation_splits`.
    """
    own = {row["split"] for row in fold.train if row["corpus"] in protocol.corpora} - {None}
    judging = {row["split"] for row in fold.validation} - {None}
    words = protocol.labels
    labels = words.name if words.name in LABEL_SETS else ",".join(words)
    validation = list(data.validation_splits)
    if data.validates and not data.validation_corpora:
        validation += sorted(judging - {*validation})
    train = data.train_splits and [*data.train_splits, *sorted(own - {*data.train_splits, *validation})]
    return replace(data, labels=labels, train_splits=train, validation_splits=validation)


def fold_rows(fold: Fold, data: DataArguments) -> list[Row]:
    """The rows to train on; those of the fold's validation part only where they choose the checkpoint."""
    judges = {row["split"] for row in fold.validation} & {*data.validation_splits}
    return [*fold.train, *(row for row in fold.validation if row["split"] in judges)]
