# SPDX-License-Identifier: Apache-2.0
"""`run-mser baselines`: compare trained models with baselines in one table.

run-mser baselines --train ravdess=/data/ravdess --test emodb=/data/emodb --labels four --model runs/base/joint
"""

import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mser_llm.cli.dataclass_arguments import option
from mser_llm.io.errors import InputError


if TYPE_CHECKING:
    from mser_llm.evaluation.baselines.comparison import System
    from mser_llm.evaluation.labeled_clips import LabeledClips
    from processing_mser import LabelSet


@dataclass
class BaselinesArguments:
    train: list[str] = option(help="training corpora of the baselines as NAME=PATH")
    test: list[str] = option(help="test corpora as NAME=PATH")
    labels: str = "four"
    systems: list[str] = option(
        ["majority", "egemaps", "probe"],
        "baselines: majority, egemaps (needs the extra baselines) and probe; chance is always included",
    )
    encoder: str | None = option(
        None, "folder or Hub id of the Whisper model to probe; default: the first model's encoder"
    )
    model: list[str] = option([], "folders or Hub ids of trained models; all systems are compared with the last")
    pad_to: Literal["longest", "30s"] = option(
        "longest", "padding for the probe: longest clip with a mask, or 30s as stock Whisper"
    )
    cache_dir: str = option("~/.cache/mser-llm", "directory of the feature and prediction caches")
    output_dir: str = option("runs/baselines", "directory for tables and predictions")
    batch_size: int = 16
    device: str = option("auto", "device of the models: auto, cpu, cuda or cuda:N")
    allow_leak: bool = False
    allow_unlearned_labels: bool = False
    resamples: int = 5000
    seed: int = option(0, "of the bootstrap and of guessing")


ARGUMENTS = BaselinesArguments
HELP = "Compare chance, majority, eGeMAPS + SVM, linear probes and trained models on the same clips in one table."


SYSTEMS = ("majority", "egemaps", "probe")


def run(args: BaselinesArguments) -> int:
    """Print the tables and write everything to `args.output_dir`; return 0, or 1 if a test clip is unreadable."""
    from modeling_mser.labels_mser import check_labels
    from mser_llm.cli.corpus_arguments import read_labeled
    from mser_llm.evaluation.baselines.baseline_systems import (
        chance_level,
        egemaps_system,
        majority_class,
        probe_systems,
    )
    from mser_llm.evaluation.baselines.comparison import System, compare_systems, markdown, write_comparison
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
        raise InputError("--systems", f"unknown: {' '.join(unknown)}", f"choose from {', '.join(SYSTEMS)}")
    encoder = _encoder(args) if "probe" in args.systems else ""
    training = LabeledClips.concatenate(list(read_labeled(args.train, labels).values()))
    tests = read_labeled(args.test, labels)
    tested = LabeledClips.concatenate(list(tests.values())).rows
    leaks = {"baselines": check_leak(training.rows, tested, allow=args.allow_leak, by_content=True)}
    models = _model_names(args.model)
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
        predictions = {name: majority_class(training.truths, clips, labels.words) for name, clips in tests.items()}
        systems.append(System("majority", "", predictions))
    if "egemaps" in args.systems:
        systems.append(egemaps_system(training, tests, labels, args.cache_dir))
    if "probe" in args.systems:
        probes, layers = probe_systems(encoder, training, tests, labels, args.cache_dir, args.pad_to)
        systems += probes
    for (name, place), stem in zip(models.items(), file_stems(models).values()):
        folder = Path(args.output_dir) / "models" / stem
        systems.append(_model(args, name, place, folder, tests, labels))
    if not systems:
        raise InputError("--systems", "there is nothing to compare", "pass --systems or --model")

    chance = {name: chance_level(clips, labels.words, seed=args.seed) for name, clips in tests.items()}
    settings = {"resamples": args.resamples, "seed": args.seed}
    results = {
        **compare_systems(systems, chance, layers, **settings),
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
    incomplete = [system.name for system in systems if sum(map(len, system.predictions.values())) < len(tested)]
    if incomplete:
        print(f"some test clips are unreadable for {', '.join(incomplete)}", file=sys.stderr)
    return 1 if incomplete else 0


def _encoder(args: BaselinesArguments) -> str:
    """Resolve the encoder to probe."""
    if args.encoder is not None:
        return args.encoder
    if not args.model:
        raise InputError("--systems probe", "needs an encoder", "pass --encoder or --model, or leave probe out")
    from transformers import PreTrainedConfig

    from mser_llm.inference.loading import find_model

    config = PreTrainedConfig.get_config_dict(find_model(args.model[0]))[0]
    if config["audio_config"].get("model_type", "whisper") != "whisper":
        raise InputError(
            args.model[0], "its encoder is not a Whisper model", "pass --encoder, or leave probe out of --systems"
        )
    if config.get("audio_backbone") is None:
        raise InputError(args.model[0], "its encoder is not a published backbone", "pass --encoder")
    return config["audio_backbone"]


def _model_names(places: list[str]) -> dict[str, str]:
    """Name models by the last part of their path, or the complete path if that is not unique."""
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
    predictions = read_predictions(folder, labels.words)
    return System(name, "", {key: predictions.of_corpus(key) for key in tests}, {"model": place})
