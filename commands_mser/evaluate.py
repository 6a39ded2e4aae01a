# SPDX-License-Identifier: Apache-2.0
"""`run-mser evaluate`: figures, predictions and a report for a trained model on labelled corpora.

run-mser evaluate --model runs/demo/model --corpora folder=my_recordings --labels seven --output_dir runs/evaluation
"""

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal


HELP = "Measure a model on labelled corpora: results.json, predictions.csv, confusion matrices and report.html."


@dataclass
class EvaluateArguments:
    model: str = field(metadata={"help": "folder of a trained model, or its id on the Hub"})
    corpora: list[str] = field(
        metadata={"help": "corpora as NAME=PATH, for example emodb=/data/emodb folder=my_recordings"}
    )
    labels: str = field(
        default="four", metadata={"help": "label set: four, seven, or words separated by commas; others are dropped"}
    )
    decode: Literal["score", "generate"] = field(
        default="score",
        metadata={"help": "score compares the candidate words; generate reads a word out of the model's free text"},
    )
    output_dir: str = field(default="runs/evaluation", metadata={"help": "where the results are written"})
    batch_size: int = field(default=16, metadata={"help": "clips per forward pass"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N"})
    prompt: str | None = field(
        default=None, metadata={"help": "version of the prompt template; by default the one of the training"}
    )
    pad_to: Literal["longest", "30s"] | None = field(
        default=None,
        metadata={"help": "longest pads under a mask, 30s as stock Whisper; by default as in the training"},
    )
    length_normalize: bool = field(
        default=False, metadata={"help": "divide each word's score by its number of tokens"}
    )
    prior_correction: bool = field(
        default=False, metadata={"help": "subtract each word's score for silence, so that no word is liked beforehand"}
    )


ARGUMENTS = EvaluateArguments


def run(args: EvaluateArguments) -> int:
    """Evaluates and writes everything into `args.output_dir`; returns 0, or 1 if a clip could not be read."""
    from data_mser.reading import parse_corpora, read_corpus
    from evaluation_mser.evaluation import evaluate_corpora, within_label_set
    from evaluation_mser.loading import load_model
    from evaluation_mser.report import write_report
    from processing_mser import label_set

    labels = label_set(args.labels)
    readings = {key: read_corpus(name, path) for key, (name, path) in parse_corpora(args.corpora).items()}
    for key, reading in readings.items():
        for warning in reading.warnings:
            print(f"{key}: {warning}", file=sys.stderr)
        # Before a model of gigabytes is loaded for nothing.
        within_label_set(key, reading.rows, labels)
    model, processor = load_model(args.model, args.device, args.prompt)
    processor.pad_to = args.pad_to or processor.pad_to
    results = evaluate_corpora(
        model,
        processor,
        {key: reading.rows for key, reading in readings.items()},
        labels,
        decode=args.decode,
        batch_size=args.batch_size,
        output_dir=args.output_dir,
        model_name=args.model,
        progress=sys.stderr.isatty(),
        length_normalize=args.length_normalize,
        prior_correction=args.prior_correction,
    )
    report = write_report(results, Path(args.output_dir) / "report.html", configuration=asdict(args))
    errors = 0
    rows = list(results["corpora"].items()) + ([("all corpora", results["pooled"])] if "pooled" in results else [])
    width = max(len(name) for name, _ in rows)
    print(f"{'corpus':<{width}}     UA     WA    WF1  macro-F1  chance      n  dropped  unreadable")
    for name, row in rows:
        errors += row.get("errors", 0)
        print(
            f"{name:<{width}}  {row['UA']:.3f}  {row['WA']:.3f}  {row['WF1']:.3f}     {row['macro_F1']:.3f}   "
            f"{row['chance']:.3f}  {row['n']:>5}  {row.get('dropped', ''):>7}  {row.get('errors', ''):>10}"
        )
    print(f"written to {report}")
    if errors:
        print(f"{errors} clips could not be read; see error_clips in results.json", file=sys.stderr)
    return 1 if errors else 0
