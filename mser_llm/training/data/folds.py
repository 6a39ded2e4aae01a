# SPDX-License-Identifier: Apache-2.0
"""Select the rows and the data arguments to train on one fold of a protocol."""

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
    Return the fold of a protocol to train on.

    Args:
        protocol: the protocol to train for. It splits the rows of its own corpora. The others are training data in
            every fold, except M5SER's translations of the fold's test clips.
        rows: rows of all corpora.
        data: decides whether clips without a known emotion are kept.
        fold: name or number, from 1; may be omitted if there is only one fold.
        allow_leak: accept a fold whose training and test data share speakers or recordings, as in MELD.

    Raises:
        ProtocolError: there is no such fold, or there are several and none is named.
        SpeakerLeakError: training and test data of the fold share speakers or recordings.
    """
    own = [row for row in rows if row["corpus"] in protocol.corpora]
    others = [row for row in rows if row["corpus"] not in protocol.corpora]
    unlabelled = data.unlabelled or bool(data.labelled_languages or data.unlabelled_corpora)
    if not own and isinstance(protocol.split, FullCorpus):
        # The corpus of a zero-shot test may be missing, but training must not contain its translations.
        train = tuple(protocol.training_rows(others, unlabelled=unlabelled))
        return Fold("whole", train, (), (), leak=protocol.check(train, (), allow=allow_leak))
    names = [one.name for one in protocol.divide(own)]
    chosen = resolve_fold(protocol.name, names, fold)
    folds = protocol.folds(own, others, allow_leak=allow_leak, unlabelled=unlabelled, only=chosen)
    return folds[0]


def arguments_for_fold(data: DataArguments, fold: Fold, protocol: Protocol) -> DataArguments:
    """
    Adapt a recipe's data arguments to a fold: its labels and the splits it trains and validates on.

    If the recipe has `train_splits`, the splits that the fold trains on are added. The fold's own validation splits
    are added to `validation_splits`.
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
    """Return the training rows, and the fold's validation rows if they select the checkpoint."""
    judges = {row["split"] for row in fold.validation} & {*data.validation_splits}
    return [*fold.train, *(row for row in fold.validation if row["split"] in judges)]
