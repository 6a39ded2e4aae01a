# SPDX-License-Identifier: Apache-2.0
"""`run-mser evaluate`: evaluate a trained model on labeled corpora.

run-mser evaluate --model runs/demo/model --corpora folder=my_recordings --labels seven --output_dir runs/evaluation
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mser_llm.cli.dataclass_arguments import option
from mser_llm.cli.protocols import format_protocol_results


HELP = "Evaluate a model on labeled corpora: results.json, predictions.csv, confusion matrices and report.html."


@dataclass
class EvaluateArguments:
    model: str
    corpora: list[str] = option(help="corpora as NAME=PATH, for example emodb=/data/emodb folder=my_recordings")
    labels: str | None = option(
        None,
        "label set: four, seven, or labels separated by commas; other emotions are dropped; default: the "
        "protocol's labels, or four",
    )
    protocol: str | None = option(
        None, "protocol of a paper with its labels, split and published results; see run-mser protocols"
    )
    fold: str | None = option(None, "a single fold of the protocol, such as session3; default: all")
    allow_leak: bool = False
    allow_unlearned_labels: bool = False
    decode: Literal["score", "generate"] = "score"
    output_dir: str = option("runs/evaluation", "directory for the results")
    batch_size: int = 16
    device: str = "auto"
    prompt: str | None = option(None, "version of the prompt template; default: as in training")
    prompts: list[str] = option([], "further versions of the prompt template to evaluate, or all")
    pad_to: Literal["longest", "30s"] | None = option(
        None, "longest pads to the longest clip with a mask, 30s pads as stock Whisper; default: as in training"
    )
    length_normalize: bool = option(False, "divide each label's score by its number of tokens")
    prior_correction: bool = option(False, "subtract each label's score for silence, to remove prior preferences")
    quantize: Literal["int8", "4bit"] | None = None
    compile: bool = False
    cache_dir: str = option("~/.cache/mser-llm", "directory of the prediction cache")
    no_cache: bool = option(False, "do not use the prediction cache")


ARGUMENTS = EvaluateArguments


def run(args: EvaluateArguments) -> int:
    """Evaluate and write everything to `args.output_dir`; return 0, or 1 if a clip is unreadable."""
    from mser_llm.cli.corpus_arguments import read_rows
    from mser_llm.evaluation.evaluation import evaluate_corpora, write_results
    from mser_llm.evaluation.labeled_clips import LabeledClips
    from mser_llm.evaluation.predictions import read_predictions
    from mser_llm.evaluation.protocols import check_model_leak, find_protocol, plan_evaluation
    from mser_llm.evaluation.report import write_report
    from mser_llm.inference.compilation import check_compiler
    from mser_llm.inference.deferred_model import DeferredModel
    from mser_llm.inference.loading import load_processor, pick_device
    from mser_llm.inference.prediction_cache import PredictionCache
    from mser_llm.inference.scoring_options import ScoringOptions
    from mser_llm.io.errors import InputError
    from processing_mser import PROMPTS, label_set

    options = ScoringOptions.from_arguments(args)
    protocol = None if args.protocol is None else find_protocol(args.protocol)
    if protocol is not None and args.labels is not None:
        raise InputError("--labels", f"{args.protocol} has its own labels", "leave out --labels or --protocol")
    if protocol is None and args.fold is not None:
        raise InputError("--fold", "needs a protocol", "pass --protocol")
    labels = protocol.labels if protocol is not None else label_set(args.labels or "four")
    corpora: Mapping[str, Sequence[Mapping[str, Any]]] = read_rows(args.corpora)
    measured = None
    if protocol is not None:
        measured = plan_evaluation(protocol, [row for rows in corpora.values() for row in rows], args.fold)
        corpora = measured.rows
    # Fail before loading a large model.
    if args.compile:
        check_compiler(pick_device(args.device))
    tested = [row for key, rows in corpora.items() for row in LabeledClips.from_rows(key, rows, labels).rows]
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
        print(format_protocol_results(protocol, results))
    if leak.found:
        print(f"LEAK: {leak}")
    if results["unlearned_labels"]:
        print(f"UNLEARNED: the model never learned {', '.join(results['unlearned_labels'])}")
    for sentence in [leak.mark] * bool(leak.mark) + [f"not checked: {reason}" for reason in leak.unchecked]:
        print(sentence)
    if cache is not None and cache.found:
        print(
            f"{cache.found} of {cache.found + cache.computed} predictions came from the cache (--no_cache disables it)"
        )
    print(f"written to {report}")
    for name, metrics in results["corpora"].items():
        if metrics["narrow_band"]:
            print(
                f"warning: {name}: {metrics['narrow_band']} of {metrics['n']} clips have no sound above 4 kHz "
                "(telephone quality), which makes predictions less reliable",
                file=sys.stderr,
            )
    errors = sum(metrics["errors"] for metrics in results["corpora"].values())
    if errors:
        print(f"{errors} clips are unreadable; see error_clips in results.json", file=sys.stderr)
    return 1 if errors else 0


def print_results(results: Mapping[str, Any]) -> None:
    """Print the metrics of each corpus, the significant gaps between groups, and the results by prompt."""
    from mser_llm.evaluation.tables import format_table

    headers = ["corpus", "UA", "95 % interval", "speakers", "WA", "WF1", "macro-F1", "chance", "n", "dropped"]
    pooled = {"all corpora": results["pooled"]} if "pooled" in results else {}
    rows = [
        [
            name,
            f"{row['UA']:.3f}",
            "" if row["intervals"] is None else _interval(row["intervals"]["UA"]),
            str(row["clusters"] - row["clips_without_speaker"] or "unknown"),
            *(f"{row[metric]:.3f}" for metric in ("WA", "WF1", "macro_F1", "chance")),
            *(str(row.get(count, "")) for count in ("n", "dropped", "errors")),
        ]
        for name, row in {**results["corpora"], **pooled}.items()
    ]
    print(format_table([*headers, "unreadable"], rows, "text", text_columns=(0, 2)))
    for gap in results["gaps"]:
        if gap["flagged"]:
            print(
                f"{gap['name'] or 'all corpora'}: by {gap['by']}, UA {gap['groups'][gap['worst']]:.3f} for "
                f"{gap['worst']} and {gap['groups'][gap['best']]:.3f} for {gap['best']}, a gap of {gap['gap']:.3f} "
                f"({_interval((gap['low'], gap['high']))})"
            )
    for version, metrics in results.get("prompts", {}).items():
        print(f"prompt {version}: UA {metrics['UA']:.3f}, WA {metrics['WA']:.3f}")


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"
