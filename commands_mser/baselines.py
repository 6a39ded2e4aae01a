# SPDX-License-Identifier: Apache-2.0
"""`run-mser baselines`: a trained model in one table with what it has to beat.

run-mser baselines --train ravdess=/data/ravdess --test emodb=/data/emodb --labels four --model runs/base/joint
"""

import re
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal


if TYPE_CHECKING:
    from evaluation_mser.baselines.comparison import System
    from evaluation_mser.labelled_clips import LabelledClips
    from processing_mser import LabelSet


@dataclass
class BaselinesArguments:
    train: list[str] = field(metadata={"help": "NAME=PATH of each corpus that the baselines are fitted on"})
    test: list[str] = field(metadata={"help": "NAME=PATH of each corpus that every system answers"})
    labels: str = field(default="four", metadata={"help": "label set: four, seven, or words separated by commas"})
    systems: list[str] = field(
        default_factory=lambda: ["majority", "egemaps", "probe"],
        metadata={
            "help": "baselines: majority, egemaps (needs the extra baselines) and probe; chance always stands there"
        },
    )
    encoder: str | None = field(
        default=None,
        metadata={"help": "folder or Hub id of the Whisper that is probed; by default the first model's encoder"},
    )
    model: list[str] = field(
        default_factory=list, metadata={"help": "folders or Hub ids of trained models; the last is compared with"}
    )
    pad_to: Literal["longest", "30s"] = field(
        default="longest", metadata={"help": "of the probe: longest under a mask, or 30s as stock Whisper"}
    )
    cache_dir: str = field(default="~/.cache/mser-llm", metadata={"help": "where features of clips are kept"})
    output_dir: str = field(default="runs/baselines", metadata={"help": "where tables and predictions are written"})
    batch_size: int = field(default=16, metadata={"help": "clips per forward pass of the models"})
    device: str = field(default="auto", metadata={"help": "of the models: auto, cpu, cuda or cuda:N"})
    resamples: int = field(default=5000, metadata={"help": "of the bootstrap over speakers"})
    seed: int = field(default=0, metadata={"help": "of the bootstrap and of the guesses"})


ARGUMENTS = BaselinesArguments
HELP = "Chance, majority, eGeMAPS with an SVM, linear probes and trained models over the same clips, in one table."


SYSTEMS = ("majority", "egemaps", "probe")


def run(args: BaselinesArguments) -> int:
    """Prints the table of each test corpus and writes everything into `args.output_dir`."""
    from commands_mser.labelled_corpora import read_labelled
    from data_mser.splits import check_speaker_leak
    from evaluation_mser.baselines.comparison import System, compare_systems, markdown, write_comparison
    from evaluation_mser.baselines.guessing import chance, majority
    from evaluation_mser.evaluation import versions
    from evaluation_mser.labelled_clips import LabelledClips
    from evaluation_mser.predictions import Predictions, write_predictions
    from processing_mser import label_set
    from training_mser.baseline_systems import egemaps_system, probe_systems

    labels = label_set(args.labels)
    unknown = sorted(set(args.systems) - set(SYSTEMS))
    if unknown:
        raise ValueError(f"--systems {' '.join(unknown)}: choose from {', '.join(SYSTEMS)}")
    encoder = _encoder(args) if "probe" in args.systems else ""
    training = LabelledClips.joined(list(read_labelled(args.train, labels).values()))
    tests = read_labelled(args.test, labels)
    for clips in tests.values():
        check_speaker_leak(training.rows, clips.rows)

    systems: list[System] = []
    layers: list[System] = []
    if "majority" in args.systems:
        answers = {name: majority(training.truths, clips, labels.words) for name, clips in tests.items()}
        systems.append(System("majority", "", answers))
    if "egemaps" in args.systems:
        systems.append(egemaps_system(training, tests, labels, args.cache_dir))
    if "probe" in args.systems:
        probes, layers = probe_systems(encoder, training, tests, labels, args.cache_dir, args.pad_to)
        systems += probes
    systems += _models(args, tests, labels)
    if not systems:
        raise ValueError("nothing to compare; give --systems or --model")

    guessed = {name: chance(clips, labels.words, seed=args.seed) for name, clips in tests.items()}
    settings = {"resamples": args.resamples, "seed": args.seed}
    results = {
        **compare_systems(systems, guessed, layers, **settings),
        "labels": list(labels.words),
        "training_clips": dict(Counter(training.corpora)),
        "encoder": encoder or None,
        "configuration": asdict(args),
        "versions": versions("scikit-learn", *(["opensmile"] if "egemaps" in args.systems else [])),
    }
    output = Path(args.output_dir)
    for system in systems:
        name = re.sub(r"\W+", "_", system.name).strip("_")
        write_predictions(output / "predictions" / f"{name}.csv", Predictions.concatenate([*system.answers.values()]))
    written = write_comparison(results, output)
    print(markdown(results))
    print(f"written to {written}")
    return 0


def _encoder(args: BaselinesArguments) -> str:
    """The encoder to probe."""
    if args.encoder is not None:
        return args.encoder
    if not args.model:
        raise ValueError("the probe needs an encoder: give --encoder, or --model, or leave it out of --systems")
    from modeling_mser import MSERConfig

    backbone = MSERConfig.from_pretrained(args.model[0]).audio_backbone
    if backbone is None:
        raise ValueError(f"{args.model[0]}: was trained with an encoder of its own, not a backbone; give --encoder")
    return backbone


def _models(args: BaselinesArguments, tests: dict[str, "LabelledClips"], labels: "LabelSet") -> list["System"]:
    from evaluation_mser.baselines.comparison import System
    from evaluation_mser.evaluation import evaluate_corpora
    from evaluation_mser.loading import load_model
    from evaluation_mser.predictions import read_predictions

    systems = []
    for place in args.model:
        same = [other for other in args.model if Path(other).name == Path(place).name]
        name = Path(place).name if len(same) == 1 else place
        folder = Path(args.output_dir) / "models" / re.sub(r"\W+", "_", name).strip("_")
        model, processor = load_model(place, args.device)
        evaluate_corpora(
            model,
            processor,
            {key: clips.rows for key, clips in tests.items()},
            labels,
            batch_size=args.batch_size,
            output_dir=folder,
            model_name=place,
            progress=sys.stderr.isatty(),
        )
        answered = read_predictions(folder, labels.words)
        answers = {key: answered.subset([corpus == key for corpus in answered.corpora]) for key in tests}
        systems.append(System(f"model {name}", "", answers, {"model": place}))
    return systems
