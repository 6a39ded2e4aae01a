# SPDX-License-Identifier: Apache-2.0
"""Table I of the paper: a) trained and tested on IEMOCAP and MELD, b) zero-shot on four other corpora."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.protocols import (
    PROTOCOLS,
    Fold,
    LeakReport,
    Protocol,
    ProtocolError,
    find_protocol,
)
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS, read_training_record
from mser_llm.io.errors import InputError
from mser_llm.reproduction.evaluation_cache import EvaluationSet, evaluate_once, read_json
from mser_llm.reproduction.formatting import format_backbones, format_training
from mser_llm.reproduction.published import BACKBONES, TABLE_1A, TABLE_1B, is_own, published_rows
from mser_llm.reproduction.runs import Experiment, Recipe, Run, Settings, concatenate_folds, runs_line
from mser_llm.reproduction.systems import FULL, SYSTEMS, System
from mser_llm.reproduction.table import CITED, PAPER, Line, Table, measured_line, published_line
from mser_llm.reproduction.writers import write_table
from mser_llm.training.arguments import DataArguments
from mser_llm.training.data.folds import arguments_for_fold, fold_rows, training_fold


Row = Mapping[str, Any]
METRICS = ("WA", "UA", "WF1")


def table1a(
    corpora: Mapping[str, Sequence[Row]],
    recipe_for: Callable[[str], Recipe],
    seeds: Sequence[int],
    folder: Path,
    allow_leak: bool = False,
    device: str = "auto",
) -> str:
    """
    Train and evaluate every fold of the protocols whose corpora are given; write the files of the table.

    Args:
        corpora: rows by corpus. Each protocol divides its own corpus; the others are trained on in every fold, M5SER
            without the translations of the fold's test clips.
        recipe_for: returns the recipe of a label set, by its name.
        seeds: of the trainings.
        folder: of the runs, each in `PROTOCOL/FOLD/seedN/STEP`.
        allow_leak, device: as in `Experiment`; MELD's own split needs `allow_leak`.

    Returns:
        The Markdown.
    """
    protocols = [PROTOCOLS[name] for name in TABLE_1A if PROTOCOLS[name].corpora[0] in corpora]
    if not protocols:
        raise InputError("table1a", f"needs IEMOCAP or MELD, not {', '.join(corpora)}", "pass --corpora iemocap=PATH")
    lines: list[Line] = []
    notes: list[str] = []
    for protocol in protocols:
        own = corpora[protocol.corpora[0]]
        others = [row for name, rows in corpora.items() if name != protocol.corpora[0] for row in rows]
        folds = protocol.folds(own, others, allow_leak=allow_leak)
        parts: list[list[Run]] = []
        leak = ""
        system = system_for(folds[0].train)
        for fold in folds:
            recipe = for_fold(recipe_for(protocol.labels.name), fold, protocol)
            training = fold_rows(fold, recipe(system.last.chain[0], seeds[0], folder, None)[1])
            tests, own_folder = {protocol.corpora[0]: fold.test}, folder / protocol.name / fold.name
            experiment = Experiment(recipe, training, tests, protocol.labels, own_folder, device, allow_leak)
            parts += experiment.run([system], seeds).values()
            leak = experiment.leak_mark or leak
        runs = concatenate_folds(parts)
        lines.append(runs_line(f"{system.name}, {protocol.name}", runs, METRICS, folds[-1].name, leak=leak))
        lines += published_lines(protocol, "Table I a")
        notes += notes_of(protocol, len(runs[0].predictions))
        if any(fold.validation for fold in folds):
            chooses = len(training) > len(folds[-1].train)
            use = "chooses the checkpoint" if chooses else "is neither trained on nor tested"
            notes.append(f"{protocol.name}: the published validation part {use}.")
        notes.append(f"{protocol.name}: metrics are over the clips of all {len(folds)} fold(s) together.")
    return write_table(
        Table("Table I a: IEMOCAP and MELD", lines, METRICS, notes=list(dict.fromkeys(notes))), folder, "table1a"
    )


def fold_experiment(
    name: str,
    fold: str | None,
    rows: Sequence[Row],
    recipe_for: Callable[[str], Recipe],
    folder: Path,
    allow_leak: bool = False,
    device: str = "auto",
) -> Experiment:
    """Build the experiment of one fold of a protocol, given by name or number."""
    protocol = find_protocol(name)
    chosen = training_fold(protocol, rows, DataArguments(), fold, allow_leak=allow_leak)
    recipe = for_fold(recipe_for(protocol.labels.name), chosen, protocol)
    first = FULL.last.chain[0]
    training = fold_rows(chosen, recipe(first, 0, folder, None)[1])
    tests: dict[str, list[Row]] = {}
    for row in chosen.test:
        tests.setdefault(row["corpus"], []).append(row)
    if not tests:
        raise ProtocolError(name, "no test clips in the given corpora", f"pass {', '.join(protocol.tested_corpora)}")
    return Experiment(recipe, training, tests, protocol.labels, folder, device, allow_leak)


def for_fold(recipe: Recipe, fold: Fold, protocol: Protocol) -> Recipe:
    """Limit a recipe to the labels of a protocol and the training part of a fold."""

    def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> Settings:
        model, data, training = recipe(step, seed, folder, earlier)
        return model, arguments_for_fold(data, fold, protocol), training

    return settings


def system_for(rows: Sequence[Row]) -> System:
    """Choose the paper's full system, or its English part if there is no speech in other languages."""
    return FULL if any(row["language"] != "en" for row in rows) else SYSTEMS["SER + L_lec"]


def table1b(
    models: Sequence[Path],
    tests: Mapping[str, Sequence[Row]],
    folder: Path,
    allow_leak: bool = False,
    device: str = "auto",
) -> str:
    """
    Evaluate trained models on complete corpora, each with its own labels; write the files of the table.

    Args:
        models: folders of one system, one per seed.
        tests: rows by corpus.
        folder: of the predictions, each in `PROTOCOL/MODEL`.
        allow_leak, device: as in `Experiment`.

    Returns:
        The Markdown.
    """
    protocols = zero_shot_protocols(tests)
    chosen = {one.name: one.rows_with_labels(tests[one.corpora[0]]) for one in protocols}
    leaks = {one.name: [_check(one, model, chosen[one.name], allow_leak) for model in models] for one in protocols}
    lines: list[Line] = []
    notes: list[str] = []
    for protocol in protocols:
        test = EvaluationSet({protocol.corpora[0]: chosen[protocol.name]}, protocol.labels)
        predictions = [
            evaluate_once(model, test, folder / protocol.name / f"model{number}", device)
            for number, model in enumerate(models)
        ]
        found = [leak for leak in leaks[protocol.name] if leak is not None]
        results = read_json(models[0] / TRAIN_RESULTS)
        lines.append(
            measured_line(
                f"zero-shot, {protocol.name}",
                predictions,
                format_backbones(models[0]),
                format_training([results]) if results and "data" in results else "not recorded",
                METRICS,
                "; ".join(dict.fromkeys(str(leak) for leak in found if leak.found)),
            )
        )
        lines += published_lines(protocol, "Table I b")
        notes += notes_of(protocol, len(predictions[0]))
        if len(found) < len(models):
            notes.append(
                f"{protocol.name}: a model has no train_results.json: whether it was trained on the test is unchecked."
            )
        notes += [f"{protocol.name}: {one}." for leak in found for one in leak.unchecked]
    return write_table(
        Table("Table I b: zero-shot on complete corpora", lines, METRICS, notes=list(dict.fromkeys(notes))),
        folder,
        "table1b",
    )


def zero_shot_protocols(tests: Mapping[str, Sequence[Row]]) -> list[Protocol]:
    """List the protocols of Table I b whose corpora are given."""
    protocols = [PROTOCOLS[name] for name in TABLE_1B if PROTOCOLS[name].corpora[0] in tests]
    if not protocols:
        given = ", ".join(tests) or "no corpus"
        raise InputError("table1b", f"needs ShEMO, AESDD, RAVDESS or RESD, not {given}", "pass --test aesdd=PATH")
    return protocols


def check_zero_shot(training: Sequence[Row], tests: Mapping[str, Sequence[Row]], allow_leak: bool) -> None:
    """Raise a `SpeakerLeakError`, before anything is trained, if training and zero-shot tests overlap."""
    for protocol in zero_shot_protocols(tests):
        protocol.check(training, protocol.rows_with_labels(tests[protocol.corpora[0]]), allow=allow_leak)


def _check(protocol: Protocol, model: Path, test: Sequence[Row], allow_leak: bool) -> LeakReport | None:
    record = read_training_record(model)
    if record is None:
        return None
    try:
        return protocol.check(record, test, allow=allow_leak)
    except SpeakerLeakError as error:
        raise SpeakerLeakError(f"{model} on {protocol.name}: {error}") from None


def published_lines(protocol: Protocol, where: str) -> list[Line]:
    """Build the published lines of a protocol, the paper's own first."""
    rows = published_rows(protocol.name, where)
    lines = []
    for system in sorted(rows, key=lambda name: not is_own(name)):
        unknown = (CITED, "see the paper", "see the paper")
        by, trained_on, backbones = (PAPER, "English corpora, then M5SER", BACKBONES) if is_own(system) else unknown
        lines.append(published_line(rows[system], protocol.title, len(protocol.labels), trained_on, by, backbones))
    return lines


def notes_of(protocol: Protocol, scored: int) -> list[str]:
    """List the notes of a protocol, and whether all its clips were scored."""
    expected = sum(protocol.expected.values())
    notes = [*protocol.notes, *([f"Our choice: {protocol.assumption}."] if protocol.assumption else [])]
    if scored != expected:
        notes.insert(
            0, f"{scored} clips were scored where the protocol has {expected}: not comparable with the paper's."
        )
    return [f"{protocol.name}: {one}" for one in notes]
