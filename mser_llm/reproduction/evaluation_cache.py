# SPDX-License-Identifier: Apache-2.0
"""Evaluate a trained model once: predictions are kept, and reused for the same weights, clips and labels."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.evaluation import evaluate_corpora
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.predictions import Predictions, read_predictions
from mser_llm.evaluation.protocols import LeakReport, check_model_leak
from mser_llm.inference.loading import find_model, load_model
from mser_llm.io.atomic_files import write_json
from mser_llm.io.errors import InputError
from mser_llm.io.hashing import digest, file_sha256
from processing_mser import LabelSet


MEASURED = "measured.json"
PREDICTIONS = "predictions.csv"
WEIGHTS = "model.safetensors"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class EvaluationSet:
    """The rows of each test corpus by name, and the candidate labels."""

    corpora: Mapping[str, Sequence[Row]]
    labels: LabelSet

    @cached_property
    def clips(self) -> LabeledClips:
        """The clips whose emotion is among the labels."""
        return LabeledClips.concatenate(
            [LabeledClips.from_rows(name, rows, self.labels) for name, rows in self.corpora.items()]
        )

    @cached_property
    def identity(self) -> str:
        """The digest of the clips (audio, emotion, speaker, gender, language) and of the labels."""
        return digest(list(self.labels.words), self.clips.fingerprint())


def model_folders(models: Sequence[str]) -> list[Path]:
    """
    Find the folders of trained models, before any speech is read.

    Ids of the Hub are rejected: predictions are kept by the digest of the weights, which have to be local.
    """
    folders = [Path(find_model(model)) for model in models]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(folder, "no such folder", "pass the folder of a model that `run-mser train` wrote")
        if not (folder / WEIGHTS).is_file():
            raise InputError(folder, f"has no {WEIGHTS}", "copy or train the model again")
    return folders


def model_leaks(models: Sequence[Path], tests: EvaluationSet, allow_leak: bool = False) -> dict[str, LeakReport]:
    """Check what each model was trained on against the test clips, before any model is evaluated."""
    leaks = {}
    for model in models:
        try:
            leaks[str(model)] = check_model_leak(model, tests.clips.rows, allow=allow_leak)
        except SpeakerLeakError as error:
            raise SpeakerLeakError(f"{model}: {error}") from None
    return leaks


def evaluate_once(model_dir: Path, tests: EvaluationSet, output_dir: Path, device: str = "auto") -> Predictions:
    """Return the predictions of a trained model; `output_dir` gets the files of `run-mser evaluate`."""
    predictions = output_dir / PREDICTIONS
    record = {"weights": file_sha256(model_dir / WEIGHTS), "tested": tests.identity}
    known = read_json(output_dir / MEASURED)
    if not predictions.is_file() or known != record | {"predictions": file_sha256(predictions)}:
        model, processor = load_model(str(model_dir), device)
        evaluate_corpora(
            model, processor, tests.corpora, tests.labels, output_dir=output_dir, model_name=str(model_dir)
        )
        write_json(output_dir / MEASURED, record | {"predictions": file_sha256(predictions)})
    return read_predictions(predictions, tests.labels.words)


def read_json(path: Path) -> Any:
    """Read a record; None if there is none or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
