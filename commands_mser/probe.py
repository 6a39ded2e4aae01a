# SPDX-License-Identifier: Apache-2.0
"""`run-mser probe`: what each layer of a frozen encoder knows of emotion, the reference that training has to beat."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


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


ARGUMENTS = ProbeArguments
HELP = "Probe the layers of a frozen encoder; layer and regularisation are chosen on held-out training speakers."


def run(args: ProbeArguments) -> int:
    """Prints the table and writes `probe.json`."""
    import numpy as np
    from transformers import WhisperFeatureExtractor

    from data_mser.reading import parse_corpora, read_corpus
    from data_mser.whole_files import whole_file
    from modeling_mser.backbones_mser import load_audio_backbone
    from processing_mser import MSERProcessor, label_set
    from training_mser.clips import index_clips
    from training_mser.dataset import ClipFeatures
    from training_mser.layer_probe import PooledLayers, probe_layers
    from training_mser.tokenizer import build_tokenizer

    labels = label_set(args.labels)
    extractor = WhisperFeatureExtractor.from_pretrained(args.encoder)
    processor = MSERProcessor(extractor, build_tokenizer(), pad_to=args.pad_to)
    pooled = PooledLayers(load_audio_backbone(args.encoder).eval(), processor)
    features = ClipFeatures(pooled, args.cache_dir, cache_gb=float("inf"))
    random = np.random.default_rng(args.seed)

    def gather(corpora: list[str], limit: int) -> dict:
        found = {}
        for key, (name, path) in parse_corpora(corpora).items():
            rows = [row for row in read_corpus(name, path).rows if labels.map(row["emotion"]) is not None]
            if limit and len(rows) > limit:
                rows = [rows[index] for index in sorted(random.choice(len(rows), limit, replace=False))]
            clips, rejected = index_clips(rows, labels)
            rejected += features.prepare([(clip, 0) for clip in clips])
            unusable = {item.row["id"] for item in rejected}
            clips = [clip for clip in clips if clip.row["id"] not in unusable]
            if not clips:
                raise ValueError(f"{key}: no usable clip with an emotion of {', '.join(labels.words)} in {path}")
            found[key] = (np.stack([features(clip, 0).float().numpy() for clip in clips]), clips)
        return found

    training, tests = gather(args.corpora, args.max_clips), gather(args.test, 0)
    inputs = np.concatenate([given for given, _ in training.values()])
    clips = [clip for _, those in training.values() for clip in those]
    results, chosen = probe_layers(inputs, clips, tests)
    print(f"Unweighted accuracy of linear probes, {len(clips)} training clips, {len(labels.words)} classes")
    print("layer      C  held-out training speakers" + "".join(f"  {name:>8}" for name in tests))
    for result in results:
        mark = "  <- chosen by the training speakers" if result is chosen else ""
        test = "".join(f"  {result.test[name]:8.3f}" for name in tests)
        print(f"{result.layer:5}  {result.regularisation:5g}  {result.validation:26.3f}{test}{mark}")
    output = Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    with whole_file(output / "probe.json") as file:
        json.dump({"layers": [asdict(item) for item in results], "chosen": asdict(chosen)}, file, indent=2)
    return 0
