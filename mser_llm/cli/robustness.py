# SPDX-License-Identifier: Apache-2.0
"""`run-mser robustness`: how far a model's figures hold under noise, coding, other voices and other languages.

run-mser robustness --model runs/base/joint --corpora emodb=/data/emodb --labels four --others nemo=/data/nemo
"""

import io
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from mser_llm.evaluation.labeled_clips import LabeledClips


@dataclass
class RobustnessArguments:
    model: str = field(metadata={"help": "folder of a trained model, or its id on the Hub"})
    corpora: list[str] = field(metadata={"help": "NAME=PATH of each corpus whose clips are disturbed"})
    labels: str = field(default="four", metadata={"help": "label set: four, seven, or words separated by commas"})
    conditions: list[str] = field(
        default_factory=list, metadata={"help": "which disturbances; by default all for which there are clips"}
    )
    others: list[str] = field(
        default_factory=list,
        metadata={"help": "NAME=PATH of corpora that only lend second halves, for code_switch in another language"},
    )
    sample: int = field(default=0, metadata={"help": "at most so many clips of each corpus; 0 takes all"})
    seed: int = field(default=0, metadata={"help": "of the sample, of noise, rooms and other voices"})
    output_dir: str = field(default="runs/robustness", metadata={"help": "where everything is written"})
    batch_size: int = field(default=16, metadata={"help": "clips per forward pass"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N"})
    allow_leak: bool = field(
        default=False, metadata={"help": "go on where speakers of the corpora were trained on, and mark the results"}
    )
    allow_unlearned_labels: bool = field(
        default=False,
        metadata={
            "help": "accept labels that a language model trained from scratch never learned; the result is marked: "
            "their scores mean nothing"
        },
    )
    resamples: int = field(default=5000, metadata={"help": "of the bootstrap over speakers"})


ARGUMENTS = RobustnessArguments
HELP = "UA against noise, rooms, codecs, speed, length, other voices and languages: curves with intervals, resumable."


def run(args: RobustnessArguments) -> int:
    """Prints the table and writes everything into `args.output_dir`; returns 0, or 1 if a clip could not be read."""
    from modeling_mser.labels_mser import check_labels
    from mser_llm.cli.corpus_arguments import read_labeled
    from mser_llm.evaluation.evaluation import versions
    from mser_llm.evaluation.labeled_clips import LabeledClips
    from mser_llm.evaluation.protocols.leaks import check_model_leak
    from mser_llm.evaluation.robustness.conditions import CONDITIONS_VERSION, select_conditions
    from mser_llm.evaluation.robustness.measurement import predict_all, robustness_metrics, sample_clips
    from mser_llm.evaluation.robustness.perturbation import ClipPerturber, MissingPartnerError
    from mser_llm.evaluation.robustness.tables import markdown, write_robustness
    from mser_llm.evaluation.statistics.resampling import check_resamples
    from mser_llm.inference.deferred_model import DeferredModel
    from mser_llm.inference.loading import load_processor
    from mser_llm.inference.scoring_options import ScoringOptions
    from processing_mser import label_set

    if args.sample < 0:
        raise ValueError(f"sample is {args.sample}; give how many clips of each corpus, or 0 for all")
    check_resamples(args.resamples)
    labels = label_set(args.labels)
    conditions = select_conditions(args.conditions)
    # Read together, so that no two have one name.
    read = list(read_labeled([*args.corpora, *args.others], labels).values())
    corpora, pool = LabeledClips.concatenate(read[: len(args.corpora)]), LabeledClips.concatenate(read)
    model = DeferredModel(args.model, args.device)
    unlearned = check_labels(model.config, labels.words, args.allow_unlearned_labels)
    leak = check_model_leak(args.model, corpora.rows, allow=args.allow_leak)
    if leak.found:
        print(f"leak: {leak}", file=sys.stderr)
    lent = LabeledClips.concatenate(read[len(args.corpora) :]).rows
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
    answers = predict_all(
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
    results = {
        **robustness_metrics(answers, conditions, _seconds(clips), resamples=args.resamples, seed=args.seed),
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
    unread = len(clips) - len(answers.clean)
    if unread:
        print(f"{unread} clips could not be read; run-mser evaluate names them", file=sys.stderr)
    return 1 if unread else 0


def _seconds(clips: "LabeledClips") -> dict[tuple[str, str], float]:
    """The length of each clip whose header can be read, by corpus and id."""
    import soundfile

    found = {}
    for corpus, row in zip(clips.corpora, clips.rows):
        audio = row["audio"]
        source = io.BytesIO(audio["bytes"]) if audio["bytes"] is not None else audio["path"]
        try:
            found[corpus, row["id"]] = soundfile.info(source).duration
        except (OSError, soundfile.SoundFileError):
            continue
    return found
