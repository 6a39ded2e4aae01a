# SPDX-License-Identifier: Apache-2.0
"""`run-mser probe`: fit linear probes on the layers of a frozen encoder, as a baseline for training."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mser_llm.cli.dataclass_arguments import option


if TYPE_CHECKING:
    import numpy as np

    from mser_llm.evaluation.labeled_clips import LabeledClips


@dataclass
class ProbeArguments:
    encoder: str = option(help="folder or Hub id of a Whisper model")
    corpora: list[str] = option(help="NAME=PATH of each training corpus")
    test: list[str] = option([], "NAME=PATH of each test corpus")
    labels: str = "four"
    max_clips: int = option(1200, "maximum number of randomly drawn clips per training corpus; 0 takes all")
    seed: int = option(0, "of the random draw")
    pad_to: str = option("longest", "longest pads to the longest clip with a mask, 30s pads as stock Whisper")
    cache_dir: str = option("~/.cache/mser-llm", "directory of the feature cache")
    output_dir: str = option("runs/probe", "directory for probe.json")
    allow_leak: bool = False


ARGUMENTS = ProbeArguments
HELP = "Probe the layers of a frozen encoder; layer and C are selected on held-out training speakers."


def run(args: ProbeArguments) -> int:
    """Print the table and write `probe.json`; return 0."""
    import numpy as np
    from transformers import WhisperFeatureExtractor

    from modeling_mser.backbones_mser import load_audio_backbone
    from mser_llm.cli.corpus_arguments import read_labeled
    from mser_llm.evaluation.baselines.baseline_systems import clip_vectors
    from mser_llm.evaluation.baselines.linear_probe import LayerProbe, probe_layers
    from mser_llm.evaluation.baselines.pooled_layers import PooledLayers
    from mser_llm.evaluation.labeled_clips import LabeledClips
    from mser_llm.evaluation.protocols.leaks import check_leak
    from mser_llm.evaluation.tables import format_table
    from mser_llm.inference.feature_cache import ClipFeatures
    from mser_llm.inference.tokenizer import build_tokenizer
    from mser_llm.io.atomic_files import write_json
    from mser_llm.io.errors import InputError
    from processing_mser import MSERProcessor, label_set

    if args.max_clips < 0:
        raise InputError("--max_clips", f"{args.max_clips} is negative", "pass a maximum per corpus, or 0 for all")
    labels = label_set(args.labels)
    random = np.random.default_rng(args.seed)
    fitted, tested = read_labeled(args.corpora, labels), read_labeled(args.test, labels)
    if args.max_clips:
        fitted = {name: _sample(clips, args.max_clips, random) for name, clips in fitted.items()}
    training_rows, test_rows = (LabeledClips.concatenate([*clips.values()]).rows for clips in (fitted, tested))
    leak = check_leak(training_rows, test_rows, allow=args.allow_leak, by_content=True)
    if leak.found:
        print(f"leak: {leak}", file=sys.stderr)

    extractor = WhisperFeatureExtractor.from_pretrained(args.encoder)
    processor = MSERProcessor(extractor, build_tokenizer(), pad_to=args.pad_to)
    pooled = PooledLayers(load_audio_backbone(args.encoder).eval(), processor)
    features = ClipFeatures(pooled, args.cache_dir, cache_gb=float("inf"))
    training = [clip_vectors(features, clips, labels) for clips in fitted.values()]
    tests = {name: clip_vectors(features, clips, labels) for name, clips in tested.items()}
    inputs = np.concatenate([given for given, _ in training])
    clips = LabeledClips.concatenate([those for _, those in training])
    probes, chosen = probe_layers(inputs, clips)

    def result(probe: LayerProbe) -> dict[str, Any]:
        test = {
            name: probe.predictions(given, those, labels.words).metrics()["UA"]
            for name, (given, those) in tests.items()
        }
        own = {"layer": probe.layer, "regularisation": probe.C, "validation": probe.validation}
        return {**own, "test": test}

    results = [result(probe) for probe in probes]
    rows = [
        [
            str(found["layer"]),
            f"{found['regularisation']:g}",
            f"{found['validation']:.3f}",
            *(f"{value:.3f}" for value in found["test"].values()),
            "<- selected on training speakers" if found["layer"] == chosen.layer else "",
        ]
        for found in results
    ]
    marked = ", LEAK" if leak.found else ""
    print(f"Unweighted accuracy of linear probes, {len(clips)} training clips, {len(labels.words)} classes{marked}")
    print(format_table(["layer", "C", "held-out training speakers", *tests, ""], rows, "text", text_columns=(-1,)))
    written = {"layers": results, "chosen": results[probes.index(chosen)], "leak": leak.as_dict()}
    write_json(Path(args.output_dir) / "probe.json", written)
    return 0


def _sample(clips: "LabeledClips", limit: int, random: "np.random.Generator") -> "LabeledClips":
    if len(clips) <= limit:
        return clips
    return clips.subset(sorted(random.choice(len(clips), limit, replace=False)))
