# SPDX-License-Identifier: Apache-2.0
"""`run-mser probe`: what each layer of a frozen encoder knows of emotion, the reference that training has to beat."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    import numpy as np

    from mser_llm.evaluation.labeled_clips import LabeledClips


@dataclass
class ProbeArguments:
    encoder: str = field(metadata={"help": "folder or Hub id of a Whisper"})
    corpora: list[str] = field(metadata={"help": "NAME=PATH of each training corpus"})
    test: list[str] = field(default_factory=list, metadata={"help": "NAME=PATH of each test corpus"})
    labels: str = field(default="four", metadata={"help": "label set: four, seven, or words separated by commas"})
    max_clips: int = field(
        default=1200, metadata={"help": "at most so many clips of a training corpus, drawn at random; 0 takes all"}
    )
    seed: int = field(default=0, metadata={"help": "of that draw"})
    pad_to: str = field(default="longest", metadata={"help": '"longest" under a mask, or "30s" as stock Whisper'})
    cache_dir: str = field(default="~/.cache/mser-llm", metadata={"help": "where pooled features are kept"})
    output_dir: str = field(default="runs/probe", metadata={"help": "where probe.json is written"})
    allow_leak: bool = field(
        default=False, metadata={"help": "go on where speakers of the test are fitted on, and mark the results"}
    )


ARGUMENTS = ProbeArguments
HELP = "Probe the layers of a frozen encoder; layer and regularisation are chosen on held-out training speakers."


def run(args: ProbeArguments) -> int:
    """Prints the table and writes `probe.json`."""
    import numpy as np
    from transformers import WhisperFeatureExtractor

    from modeling_mser.backbones_mser import load_audio_backbone
    from mser_llm.cli.corpus_arguments import read_labeled
    from mser_llm.evaluation.baselines.clip_vectors import clip_vectors
    from mser_llm.evaluation.baselines.linear_probe import LayerProbe, probe_layers
    from mser_llm.evaluation.baselines.pooled_layers import PooledLayers
    from mser_llm.evaluation.labeled_clips import LabeledClips
    from mser_llm.evaluation.protocols.leaks import check_leak
    from mser_llm.inference.feature_cache import ClipFeatures
    from mser_llm.inference.tokenizer import build_tokenizer
    from mser_llm.io.atomic_files import write_json
    from processing_mser import MSERProcessor, label_set

    if args.max_clips < 0:
        raise ValueError(f"max_clips is {args.max_clips}; give how many of each corpus, or 0 for all")
    labels = label_set(args.labels)
    random = np.random.default_rng(args.seed)
    fitted, tested = read_labeled(args.corpora, labels), read_labeled(args.test, labels)
    if args.max_clips:
        fitted = {name: _drawn(clips, args.max_clips, random) for name, clips in fitted.items()}
    heard, asked = (LabeledClips.concatenate([*those.values()]).rows for those in (fitted, tested))
    leak = check_leak(heard, asked, allow=args.allow_leak, by_content=True)
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
    marked = ", LEAK" if leak.found else ""
    print(f"Unweighted accuracy of linear probes, {len(clips)} training clips, {len(labels.words)} classes{marked}")
    print("layer      C  held-out training speakers" + "".join(f"  {name:>8}" for name in tests))
    for found in results:
        mark = "  <- chosen by the training speakers" if found["layer"] == chosen.layer else ""
        test = "".join(f"  {found['test'][name]:8.3f}" for name in tests)
        print(f"{found['layer']:5}  {found['regularisation']:5g}  {found['validation']:26.3f}{test}{mark}")
    written = {"layers": results, "chosen": results[probes.index(chosen)], "leak": leak.as_dict()}
    write_json(Path(args.output_dir) / "probe.json", written)
    return 0


def _drawn(clips: "LabeledClips", limit: int, random: "np.random.Generator") -> "LabeledClips":
    if len(clips) <= limit:
        return clips
    return clips.subset(sorted(random.choice(len(clips), limit, replace=False)))
