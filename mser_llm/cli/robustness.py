# SPDX-License-Identifier: Apache-2.0
"""`run-mser robustness`: evaluate a model under noise, codecs, other speakers and other languages.

run-mser robustness --model runs/base/joint --corpora emodb=/data/emodb --labels four --others nemo=/data/nemo
"""

import sys
from dataclasses import asdict, dataclass
from typing import Any

from mser_llm.cli.dataclass_arguments import option


@dataclass
class RobustnessArguments:
    model: str
    corpora: list[str] = option(help="corpora to perturb as NAME=PATH")
    labels: str = "four"
    conditions: list[str] = option([], "conditions to test; default: all that the clips allow")
    others: list[str] = option(
        [], "further corpora as NAME=PATH that only provide second halves, e.g. for code_switch"
    )
    sample: int = option(0, "maximum number of clips per corpus; 0 takes all")
    seed: int = option(0, "of the sample, noise, reverberation and other speakers")
    output_dir: str = option("runs/robustness", "directory for the results")
    batch_size: int = 16
    device: str = "auto"
    allow_leak: bool = False
    allow_unlearned_labels: bool = False
    resamples: int = 5000


ARGUMENTS = RobustnessArguments
HELP = "Measure UA under noise, reverberation, codecs, speed, truncation, other speakers and languages; resumable."


def run(args: RobustnessArguments) -> int:
    """Print the table and write everything to `args.output_dir`; return 0, or 1 if a clip is unreadable."""
    from modeling_mser.labels_mser import check_labels
    from mser_llm.cli.corpus_arguments import read_labeled
    from mser_llm.evaluation.evaluation import versions
    from mser_llm.evaluation.labeled_clips import LabeledClips
    from mser_llm.evaluation.protocols.leaks import check_model_leak
    from mser_llm.evaluation.protocols.protocol import clip_seconds
    from mser_llm.evaluation.robustness.conditions import CONDITIONS_VERSION, select_conditions
    from mser_llm.evaluation.robustness.measurement import predict_all, robustness_metrics, sample_clips
    from mser_llm.evaluation.robustness.perturbation import ClipPerturber, MissingPartnerError
    from mser_llm.evaluation.robustness.results import markdown, write_robustness
    from mser_llm.evaluation.statistics.resampling import check_resamples
    from mser_llm.inference.deferred_model import DeferredModel
    from mser_llm.inference.loading import load_processor
    from mser_llm.inference.scoring_options import ScoringOptions
    from mser_llm.io.errors import InputError
    from processing_mser import label_set

    if args.sample < 0:
        raise InputError("--sample", f"{args.sample} is negative", "pass a maximum per corpus, or 0 for all")
    check_resamples(args.resamples)
    labels = label_set(args.labels)
    conditions = select_conditions(args.conditions)
    # Read together, so that names are unique.
    readings = list(read_labeled([*args.corpora, *args.others], labels).values())
    corpora, pool = LabeledClips.concatenate(readings[: len(args.corpora)]), LabeledClips.concatenate(readings)
    model = DeferredModel(args.model, args.device)
    unlearned = check_labels(model.config, labels.words, args.allow_unlearned_labels)
    leak = check_model_leak(args.model, corpora.rows, allow=args.allow_leak)
    if leak.found:
        print(f"leak: {leak}", file=sys.stderr)
    lent = LabeledClips.concatenate(readings[len(args.corpora) :]).rows
    lent_leak = check_model_leak(args.model, lent, allow=True)
    perturber = ClipPerturber(pool, args.seed)
    clips = sample_clips(corpora, args.sample, args.seed)
    if not args.conditions:
        possible = []
        for condition in conditions:
            try:
                perturber.check(clips, condition)
                possible.append(condition)
            except MissingPartnerError as error:
                print(f"left out: {error}", file=sys.stderr)
        conditions = possible
    settings: dict[str, Any] = {
        "model": model.fingerprint,
        "conditions": CONDITIONS_VERSION,
        "labels": list(labels.words),
        "seed": args.seed,
        "clips": clips.fingerprint(),
        "pool": pool.fingerprint(),
    }
    predictions = predict_all(
        lambda: (model.load(), load_processor(args.model)),
        clips,
        perturber,
        conditions,
        labels.words,
        args.output_dir,
        settings,
        ScoringOptions.from_arguments(args),
        progress=sys.stderr.isatty(),
    )
    seconds = {
        (corpus, row["id"]): found
        for corpus, row in zip(clips.corpora, clips.rows)
        # Of the file: lists of a corpus may round.
        if (found := clip_seconds({**row, "duration": None})) is not None
    }
    results = {
        **robustness_metrics(predictions, conditions, seconds, resamples=args.resamples, seed=args.seed),
        "labels": list(labels.words),
        "unlearned_labels": list(unlearned),
        "model": args.model,
        "leak": leak.as_dict(),
        "lent_leak": lent_leak.as_dict(),
        "configuration": asdict(args),
        "versions": versions("scipy"),
    }
    written = write_robustness(results, args.output_dir)
    print(markdown(results))
    if unlearned:
        print(f"UNLEARNED: the model never learned {', '.join(unlearned)}")
    print(f"written to {written}")
    unread = len(clips) - len(predictions.clean)
    if unread:
        print(f"{unread} clips are unreadable; run-mser evaluate lists them", file=sys.stderr)
    return 1 if unread else 0
