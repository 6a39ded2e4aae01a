# SPDX-License-Identifier: Apache-2.0
"""`run-mser baselines`: a trained model in one table with what it has to beat.

run-mser baselines --train ravdess=/data/ravdess --test emodb=/data/emodb --labels four --model runs/base/joint
"""

import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal


if TYPE_CHECKING:
    from mser_llm.evaluation.baselines.comparison import System
    from mser_llm.evaluation.labeled_clips import LabeledClips
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
    allow_leak: bool = field(
        default=False, metadata={"help": "go on where speakers of the test were trained on, and mark the results"}
    )
    allow_unlearned_labels: bool = field(
        default=False,
        metadata={
            "help": "accept labels that a language model trained from scratch never learned; the result is marked: "
            "their scores mean nothing"
        },
    )
    resamples: int = field(default=5000, metadata={"help": "of the bootstrap over speakers"})
    seed: int = field(default=0, metadata={"help": "of the bootstrap and of the guesses"})


ARGUMENTS = BaselinesArguments
HELP = "Chance, majority, eGeMAPS with an SVM, linear probes and trained models over the same clips, in one table."


SYSTEMS = ("majority", "egemaps", "probe")


def run(args: BaselinesArguments) -> int:
    """Prints the tables, writes everything into `args.output_dir`; returns 0, or 1 if a test clip was not answered."""
    from modeling_mser.labels_mser import check_labels
    from mser_llm.cli.corpus_arguments import read_labeled
    from mser_llm.evaluation.baselines.baseline_systems import egemaps_system, probe_systems
    from mser_llm.evaluation.baselines.comparison import System, compare_systems, markdown, write_comparison
    from mser_llm.evaluation.baselines.trivial import chance_level, majority_class
    from mser_llm.evaluation.evaluation import file_stems, versions
    from mser_llm.evaluation.labeled_clips import LabeledClips
    from mser_llm.evaluation.predictions import Predictions, write_predictions
    from mser_llm.evaluation.protocols.leaks import check_leak, check_model_leak
    from mser_llm.evaluation.statistics.resampling import check_resamples
    from mser_llm.inference.loading import load_config
    from processing_mser import label_set

    check_resamples(args.resamples)
    labels = label_set(args.labels)
    unknown = sorted(set(args.systems) - set(SYSTEMS))
    if unknown:
        raise ValueError(f"--systems {' '.join(unknown)}: choose from {', '.join(SYSTEMS)}")
    encoder = _encoder(args) if "probe" in args.systems else ""
    training = LabeledClips.concatenate(list(read_labeled(args.train, labels).values()))
    tests = read_labeled(args.test, labels)
    tested = LabeledClips.concatenate(list(tests.values())).rows
    leaks = {"baselines": check_leak(training.rows, tested, allow=args.allow_leak, by_content=True)}
    models = _named(args.model)
    unlearned = {}
    for name, place in models.items():
        unlearned[name] = check_labels(load_config(place), labels.words, args.allow_unlearned_labels)
        leaks[name] = check_model_leak(place, tested, allow=args.allow_leak)
    for name, leak in leaks.items():
        if leak.found:
            print(f"leak: {name}: {leak}", file=sys.stderr)
    for name, words in unlearned.items():
        if words:
            print(f"unlearned: {name} never learned {', '.join(words)}", file=sys.stderr)

    systems: list[System] = []
    layers: list[System] = []
    if "majority" in args.systems:
        answers = {name: majority_class(training.truths, clips, labels.words) for name, clips in tests.items()}
        systems.append(System("majority", "", answers))
    if "egemaps" in args.systems:
        systems.append(egemaps_system(training, tests, labels, args.cache_dir))
    if "probe" in args.systems:
        probes, layers = probe_systems(encoder, training, tests, labels, args.cache_dir, args.pad_to)
        systems += probes
    for (name, place), stem in zip(models.items(), file_stems(models).values()):
        folder = Path(args.output_dir) / "models" / stem
        systems.append(_model(args, name, place, folder, tests, labels))
    if not systems:
        raise ValueError("nothing to compare; give --systems or --model")

    guessed = {name: chance_level(clips, labels.words, seed=args.seed) for name, clips in tests.items()}
    settings = {"resamples": args.resamples, "seed": args.seed}
    results = {
        **compare_systems(systems, guessed, layers, **settings),
        "labels": list(labels.words),
        "training_clips": dict(Counter(training.corpora)),
        "encoder": encoder or None,
        "unlearned_labels": {name: list(words) for name, words in unlearned.items()},
        "leak": {name: leak.as_dict() for name, leak in leaks.items()},
        "configuration": asdict(args),
        "versions": versions("scikit-learn", *(["opensmile"] if "egemaps" in args.systems else [])),
    }
    output = Path(args.output_dir)
    stems = file_stems(system.name for system in systems)
    for system in systems:
        path = output / "predictions" / f"{stems[system.name]}.csv"
        write_predictions(path, Predictions.concatenate([*system.predictions.values()]))
    written = write_comparison(results, output)
    print(markdown(results))
    print(f"written to {written}")
    short = [system.name for system in systems if sum(map(len, system.predictions.values())) < len(tested)]
    if short:
        print(f"not every test clip could be answered by {', '.join(short)}", file=sys.stderr)
    return 1 if short else 0


def _encoder(args: BaselinesArguments) -> str:
    """The encoder to probe."""
    if args.encoder is not None:
        return args.encoder
    if not args.model:
        raise ValueError("the probe needs an encoder: give --encoder, or --model, or leave it out of --systems")
    from transformers import PreTrainedConfig

    from mser_llm.inference.loading import find_model

    config = PreTrainedConfig.get_config_dict(find_model(args.model[0]))[0]
    if config["audio_config"].get("model_type", "whisper") != "whisper":
        raise ValueError(
            f"{args.model[0]}: hears by an encoder that is no Whisper, and the probe is of one; give --encoder, or "
            "leave probe out of --systems"
        )
    if config.get("audio_backbone") is None:
        raise ValueError(f"{args.model[0]}: was trained with an encoder of its own, not a backbone; give --encoder")
    return config["audio_backbone"]


def _named(places: list[str]) -> dict[str, str]:
    """Models by what the table calls them: the last part of the path, or all of it where that is not enough."""
    last = [Path(place).name for place in places]
    return {f"model {name if last.count(name) == 1 else place}": place for name, place in zip(last, places)}


def _model(
    args: BaselinesArguments,
    name: str,
    place: str,
    folder: Path,
    tests: dict[str, "LabeledClips"],
    labels: "LabelSet",
) -> "System":
    from mser_llm.evaluation.baselines.comparison import System
    from mser_llm.evaluation.evaluation import evaluate_corpora
    from mser_llm.evaluation.predictions import read_predictions
    from mser_llm.inference.deferred_model import DeferredModel
    from mser_llm.inference.loading import load_processor
    from mser_llm.inference.prediction_cache import PredictionCache
    from mser_llm.inference.scoring_options import ScoringOptions

    evaluate_corpora(
        DeferredModel(place, args.device),
        load_processor(place),
        {key: clips.rows for key, clips in tests.items()},
        labels,
        ScoringOptions.from_arguments(args),
        output_dir=folder,
        model_name=place,
        progress=sys.stderr.isatty(),
        cache=PredictionCache(Path(args.cache_dir) / "predictions"),
    )
    answered = read_predictions(folder, labels.words)
    answers = {key: answered.subset([corpus == key for corpus in answered.corpora]) for key in tests}
    return System(name, "", answers, {"model": place})
