# SPDX-License-Identifier: Apache-2.0
"""`run-mser m5ser analyse`: count a built M5SER and test whether its translations kept the emotion.

run-mser m5ser analyse runs/m5ser-demo --output_dir runs/m5ser-analysis
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mser_llm.cli.dataclass_arguments import option


HELP = "Analyze a built M5SER: emotions, languages, distances, prosody, label noise. Writes a report."


@dataclass
class AnalyseArguments:
    folder: str = option(help="folder from m5ser build", positional=True, metavar="DIR")
    output_dir: str = option("runs/m5ser-analysis", "folder for the report, its numbers and the cached measures")
    model: str | None = option(
        None, "classifier to compare the labels with: folder of a trained model, or id on the Hub"
    )
    sources_per_cell: int = option(
        300, "source clips to measure per corpus and emotion, with all their translations; 0 measures all"
    )
    permutations: int = option(999, "permutations per test")
    seed: int = option(0, "seed of the permutations")
    workers: int = option(1, "number of processes that measure")
    batch_size: int = option(16, "clips per forward pass of the classifier")
    device: str = option("auto", "device of the classifier: auto, cpu, cuda or cuda:N")


ARGUMENTS = AnalyseArguments


def run(args: AnalyseArguments) -> int:
    """Analyze the folder and write everything into `args.output_dir`; return 1 if a clip is unreadable, else 0."""
    from mser_llm.inference.loading import load_model
    from mser_llm.m5ser.analysis import analyse_corpus
    from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus

    # Check the folder before loading a large model.
    BuiltCorpus(args.folder)
    model, processor = load_model(args.model, args.device) if args.model else (None, None)
    results = analyse_corpus(
        args.folder,
        args.output_dir,
        model=model,
        processor=processor,
        model_name=args.model or "",
        sources_per_cell=args.sources_per_cell,
        permutations=args.permutations,
        seed=args.seed,
        workers=args.workers,
        batch_size=args.batch_size,
        progress=sys.stderr.isatty(),
    )
    print(summary(results))
    print(f"report: {Path(args.output_dir) / 'report.html'}")
    unreadable = results["measured"]["unreadable"]
    if unreadable:
        print(f"{len(unreadable)} clips are unreadable, the first: {unreadable[0]['error']}", file=sys.stderr)
    return 1 if unreadable else 0


def summary(results: dict[str, Any]) -> str:
    """Format the most important results."""
    from mser_llm.m5ser.analysis.report import FEATURES, QUANTITIES

    counted, measured = results["overview"], results["measured"]
    lines = [
        f"{counted['rows']} clips, {counted['hours']:.2f} hours, {len(counted['languages'])} languages; "
        f"{measured['clips']} clips of {measured['sources']} sources measured",
        "",
        f"{'distance between cells of different languages':<45} same  other  ratio  95 %         shuffled     p",
    ]
    for name, title in FEATURES.items():
        test = results["distances"][name]["test"]
        if test is None:
            lines.append(f"{title:<45} too few clips")
            continue
        own, shuffled = test["interval"], test["shuffled"]["interval"]
        lines.append(
            f"{title:<45} {test['same']:.2f}  {test['different']:.2f}   {test['ratio']:.2f}   "
            f"{f'{own[0]:.2f} to {own[1]:.2f}' if own else 'unknown':<12} {shuffled[0]:.2f} to {shuffled[1]:.2f} "
            f"{test['p']:.3g}"
        )
    languages = list(results["preservation"])
    if languages:
        lines += ["", f"{'correlation with the source (shuffled)':<30}" + "".join(f"{code:>14}" for code in languages)]
    for key, title in QUANTITIES.items():
        found = [results["preservation"][code].get(key, {}) for code in languages]
        found = [of.get("pearson") or of.get("mean") for of in found]
        if any(found):
            entries = (f"{of['value']:.2f} ({of['shuffled']['mean']:.2f})" if of else "" for of in found)
            lines.append(f"{title:<30}" + "".join(f"{entry:>14}" for entry in entries))
    return "\n".join(lines)
