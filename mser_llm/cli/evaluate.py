# SPDX-License-Identifier: Apache-2.0
"""`run-mser evaluate`: figures, predictions and a report for a trained model on labelled corpora.

run-mser evaluate --model runs/demo/model --corpora folder=my_recordings --labels seven --output_dir runs/evaluation
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mser_llm.cli.protocols import beside_published


HELP = "Measure a model on labelled corpora: results.json, predictions.csv, confusion matrices and report.html."


@dataclass
class EvaluateArguments:
    model: str = field(metadata={"help": "folder of a trained model, or its id on the Hub"})
    corpora: list[str] = field(
        metadata={"help": "corpora as NAME=PATH, for example emodb=/data/emodb folder=my_recordings"}
    )
    labels: str | None = field(
        default=None,
        metadata={
            "help": "label set: four, seven, or words separated by commas; others are dropped; by default the "
            "protocol's, and four without one"
        },
    )
    protocol: str | None = field(
        default=None,
        metadata={"help": "a test of the papers, with its words, division and published numbers: run-mser protocols"},
    )
    fold: str | None = field(
        default=None, metadata={"help": "the one fold of the protocol to measure, such as session3; by default all"}
    )
    allow_leak: bool = field(
        default=False, metadata={"help": "measure although training heard what is tested; the result says so"}
    )
    allow_unlearned_labels: bool = field(
        default=False,
        metadata={
            "help": "accept labels that a language model trained from scratch never learned; the result is marked: "
            "their scores mean nothing"
        },
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
    prompts: list[str] = field(
        default_factory=list,
        metadata={
            "help": "versions of the prompt template to measure beside it, or all: how much the wording matters"
        },
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
    quantize: Literal["int8", "4bit"] | None = field(
        default=None,
        metadata={"help": "int8 for encoder and language model on a CPU, 4bit for the language model on CUDA"},
    )
    compile: bool = field(
        default=False, metadata={"help": "run through torch.compile, which takes minutes before the first answer"}
    )
    cache_dir: str = field(
        default="~/.cache/mser-llm",
        metadata={"help": "where answers are kept, so that the same model answers the same clip once"},
    )
    no_cache: bool = field(default=False, metadata={"help": "answer every clip anew and keep nothing"})


ARGUMENTS = EvaluateArguments


def run(args: EvaluateArguments) -> int:
    """Evaluates and writes everything into `args.output_dir`; returns 0, or 1 if a clip could not be read."""
    from mser_llm.data.read_corpus import parse_corpora, read_corpus
    from mser_llm.evaluation.evaluation import evaluate_corpora, rows_in_label_set, write_results
    from mser_llm.evaluation.predictions import read_predictions
    from mser_llm.evaluation.protocols import check_model_leak, find_protocol, plan_evaluation
    from mser_llm.evaluation.report import write_report
    from mser_llm.inference.compilation import check_compiler
    from mser_llm.inference.deferred_model import DeferredModel
    from mser_llm.inference.loading import load_processor, pick_device
    from mser_llm.inference.prediction_cache import PredictionCache
    from mser_llm.inference.scoring_options import ScoringOptions
    from processing_mser import PROMPTS, label_set

    options = ScoringOptions.from_arguments(args)
    protocol = None if args.protocol is None else find_protocol(args.protocol)
    if protocol is not None and args.labels is not None:
        raise ValueError(f"--labels and --protocol are both given; {args.protocol} brings its own words")
    if protocol is None and args.fold is not None:
        raise ValueError("--fold is given without --protocol; name the protocol whose fold it is")
    labels = protocol.labels if protocol is not None else label_set(args.labels or "four")
    readings = {key: read_corpus(name, path) for key, (name, path) in parse_corpora(args.corpora).items()}
    for key, reading in readings.items():
        for warning in reading.warnings:
            print(f"{key}: {warning}", file=sys.stderr)
    corpora: Mapping[str, Sequence[Mapping[str, Any]]] = {key: reading.rows for key, reading in readings.items()}
    measured = None
    if protocol is not None:
        measured = plan_evaluation(protocol, [row for rows in corpora.values() for row in rows], args.fold)
        corpora = measured.rows
    # Before a model of gigabytes is loaded for nothing.
    if args.compile:
        check_compiler(pick_device(args.device))
    tested = [row for key, rows in corpora.items() for row, _ in rows_in_label_set(key, rows, labels)]
    leak = check_model_leak(args.model, tested, protocol, allow=args.allow_leak)
    model, processor = DeferredModel(args.model, args.device, args.quantize), load_processor(args.model, args.prompt)
    cache = None if args.no_cache else PredictionCache(Path(args.cache_dir) / "predictions")
    processor.pad_to = args.pad_to or processor.pad_to
    results = evaluate_corpora(
        model,
        processor,
        corpora,
        labels,
        options,
        output_dir=args.output_dir,
        model_name=args.model,
        progress=sys.stderr.isatty(),
        prompts=list(PROMPTS) if args.prompts == ["all"] else args.prompts,
        cache=cache,
        marks={"leak": leak.as_dict(), "quantize": args.quantize}
        | ({} if measured is None else {"protocol": measured.as_dict()}),
    )
    over_folds = None if measured is None else measured.fold_statistics(results["corpora"])
    if over_folds is not None:
        results["protocol"]["over_folds"] = over_folds
        write_results(results, args.output_dir)
    report = write_report(
        results,
        Path(args.output_dir) / "report.html",
        predictions=read_predictions(args.output_dir, results["labels"]),
        configuration=asdict(args),
    )
    print_results(results)
    if protocol is not None:
        print(beside_published(protocol, results))
    if leak.found:
        print(f"LEAK: {leak}")
    if results["unlearned_labels"]:
        print(f"UNLEARNED: the model never learned {', '.join(results['unlearned_labels'])}")
    for sentence in [leak.mark] * bool(leak.mark) + [f"not checked: {said}" for said in leak.unchecked]:
        print(sentence)
    if cache is not None and cache.found:
        print(f"{cache.found} of {cache.found + cache.computed} answers were kept from before (--no_cache asks anew)")
    print(f"written to {report}")
    for name, figures in results["corpora"].items():
        if figures["narrow_band"]:
            print(
                f"warning: {name}: {figures['narrow_band']} of {figures['n']} clips have no sound above 4 kHz "
                "(telephone quality), which makes predictions less reliable",
                file=sys.stderr,
            )
    errors = sum(figures["errors"] for figures in results["corpora"].values())
    if errors:
        print(f"{errors} clips could not be read; see error_clips in results.json", file=sys.stderr)
    return 1 if errors else 0


def print_results(results: Mapping[str, Any]) -> None:
    """The figures of each corpus, the gaps between groups that are beyond chance, and the prompts, as a few lines."""
    rows = list(results["corpora"].items()) + ([("all corpora", results["pooled"])] if "pooled" in results else [])
    width = max(len(name) for name, _ in [("corpus", None), *rows])
    print(
        f"{'corpus':<{width}}     UA  95 % interval   speakers     WA    WF1  macro-F1  chance      n  dropped  "
        "unreadable"
    )
    for name, row in rows:
        ends = row["intervals"]
        print(
            f"{name:<{width}}  {row['UA']:.3f}  {'' if ends is None else _interval(ends['UA']):<14}  "
            f"{row['clusters'] - row['clips_without_speaker'] or 'unknown':>8}  "
            f"{row['WA']:.3f}  {row['WF1']:.3f}     {row['macro_F1']:.3f}   {row['chance']:.3f}  {row['n']:>5}  "
            f"{row.get('dropped', ''):>7}  {row.get('errors', ''):>10}"
        )
    for gap in results["gaps"]:
        if gap["flagged"]:
            print(
                f"{gap['name'] or 'all corpora'}: by {gap['by']}, UA {gap['groups'][gap['worst']]:.3f} for "
                f"{gap['worst']} and {gap['groups'][gap['best']]:.3f} for {gap['best']}, a gap of {gap['gap']:.3f} "
                f"({_interval((gap['low'], gap['high']))})"
            )
    for version, figures in results.get("prompts", {}).items():
        print(f"prompt {version}: UA {figures['UA']:.3f}, WA {figures['WA']:.3f}")


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"
