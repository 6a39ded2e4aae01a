# SPDX-License-Identifier: Apache-2.0
"""A trained model over tested clips, once: predictions are kept, and taken again for the same weights and clips."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mser_llm.data.clips import Clip, index_clips
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.evaluation import evaluate_corpora
from mser_llm.evaluation.predictions import Predictions, read_predictions
from mser_llm.evaluation.protocols import LeakReport, check_model_leak
from mser_llm.inference.loading import ModelNotFoundError, find_model, load_model
from mser_llm.io.atomic_files import write_json
from mser_llm.io.hashing import file_sha256
from processing_mser import LabelSet


MEASURED = "measured.json"
PREDICTIONS = "predictions.csv"
WEIGHTS = "model.safetensors"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class SpeechUnderTest:
    """What is tested: name and rows of each corpus, and the candidate words."""

    corpora: Mapping[str, Sequence[Row]]
    labels: LabelSet

    @cached_property
    def identity(self) -> str:
        """In one number: clips with their sound and truth, whose they are and in which language, and the words."""
        clips = [clip for rows in self.corpora.values() for clip in indexed(rows, self.labels)]
        # What a corrected table says of the speakers is in the kept predictions too, and in every interval of theirs.
        told = ("corpus", "id", "speaker", "gender", "language")
        lines = [" ".join(map(str, [*(clip.row[name] for name in told), clip.key, clip.emotion])) for clip in clips]
        return hashlib.sha256("\n".join([*self.corpora, *self.labels.words, *lines]).encode()).hexdigest()


def model_folders(models: Sequence[str]) -> list[Path]:
    """
    The folders of trained models, found before any speech is read.

    An id on the Hub is none: what is measured is kept under the weights, which have to lie here.

    Raises:
        ModelNotFoundError: a folder is missing, or holds no model or no weights.
    """
    folders = [Path(find_model(model)) for model in models]
    for folder in folders:
        if not folder.is_dir():
            raise ModelNotFoundError(
                f"{folder}: no such folder; give a folder with a trained model, as `run-mser train` writes"
            )
        if not (folder / WEIGHTS).is_file():
            raise ModelNotFoundError(f"{folder}: holds no {WEIGHTS}; copy or train the model again")
    return folders


def model_leaks(models: Sequence[Path], tests: SpeechUnderTest, allow_leak: bool = False) -> dict[str, LeakReport]:
    """
    What each model heard of the tested clips, by the name of its folder, before any is measured.

    Raises:
        SpeakerLeakError: something, and it is not allowed; names the model.
    """
    rows = [row for own in tests.corpora.values() for row in own if tests.labels.map(row["emotion"]) is not None]
    leaks = {}
    for model in models:
        try:
            leaks[str(model)] = check_model_leak(model, rows, allow=allow_leak)
        except SpeakerLeakError as error:
            raise SpeakerLeakError(f"{model}: {error}") from None
    return leaks


def measured(model_dir: Path, tests: SpeechUnderTest, output_dir: Path, device: str = "auto") -> Predictions:
    """
    The predictions of a trained model; what `run-mser evaluate` writes lies in `output_dir`.

    Args:
        model_dir: of the model.
        tests: clips and words.
        output_dir: predictions that lie there are taken if they are of these weights, clips and words, and are as they
            were written; damaged ones are made again.
        device: as `load_model` takes it.
    """
    record, answers = {"weights": file_sha256(model_dir / WEIGHTS), "tested": tests.identity}, output_dir / PREDICTIONS
    if not answers.is_file() or read_json(output_dir / MEASURED) != record | {"predictions": file_sha256(answers)}:
        model, processor = load_model(str(model_dir), device)
        evaluate_corpora(
            model, processor, tests.corpora, tests.labels, output_dir=output_dir, model_name=str(model_dir)
        )
        write_json(output_dir / MEASURED, record | {"predictions": file_sha256(answers)})
    return read_predictions(answers, tests.labels.words)


def indexed(rows: Sequence[Row], labels: LabelSet) -> list[Clip]:
    """The clips of the words, each with the hash of its audio; what cannot be read is left out."""
    known = [row for row in rows if labels.map(row["emotion"]) is not None]
    return index_clips(known, labels, max_seconds=float("inf"))[0]


def read_json(path: Path) -> Any:
    """The content of a record; None where there is none, or one that is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
