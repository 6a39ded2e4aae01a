# SPDX-License-Identifier: Apache-2.0
"""Compare the Whisper encoder at the clips' own length, with a mask, with stock Whisper's padding to 30 s.

    python -m benchmarks.encoder_padding
    python -m benchmarks.encoder_padding --encoder PATH --corpus emodb=PATH --output runs/encoder_padding.json

Both encoders have the same weights and take turns on the same clips in one run, so other load on the machine affects
both. On a busy machine quote only the ratio.
"""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import transformers
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from benchmarks.suite.report import processor_name
from benchmarks.suite.rounds import Comparison, alternate
from benchmarks.suite.sizes import FULL
from modeling_mser import MaskedWhisperEncoder
from modeling_mser.backbones_mser import load_audio_backbone
from mser_llm.cli.dataclass_arguments import option
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.data.read_corpus import parse_corpora, read_corpus
from mser_llm.inference.tokenizer import build_tokenizer
from mser_llm.io.atomic_files import write_json
from processing_mser import SAMPLING_RATE, AudioError, MSERProcessor, load_audio


@dataclass
class BenchmarkArguments:
    encoder: str | None = option(None, "folder or Hub id of a Whisper model; default: random weights, size of base")
    corpus: str | None = option(None, "NAME=PATH of the clips; default: noise")
    seconds: list[float] = option([2.0, 3.0], "minimum and maximum clip length")
    clips: int = option(16, "maximum number of clips, drawn at random")
    batch_size: int = option(8, "clips per batch, sorted by length as in recognition")
    repeats: int = option(5, "rounds over all clips per encoder, after one warm-up round")
    threads: int = option(0, "threads of torch; 0: torch's default")
    seed: int = option(0, "seed of the selection, the noise and random weights")
    output: str | None = option(None, "JSON file for the results")

    def __post_init__(self) -> None:
        if len(self.seconds) != 2 or not 0.1 <= self.seconds[0] <= self.seconds[1] <= 30.0:
            raise ValueError(f"seconds is {self.seconds}; pass the minimum and the maximum length, from 0.1 to 30")
        for name in ("clips", "batch_size", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; pass at least 1")


def benchmark(arguments: BenchmarkArguments) -> dict[str, Any]:
    """Measure seconds per clip of each round, their medians and the ratio."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    if arguments.encoder is None:
        masked = MaskedWhisperEncoder(WhisperConfig(**FULL.audio)).eval()
        extractor = WhisperFeatureExtractor(feature_size=masked.config.num_mel_bins)
    else:
        masked = load_audio_backbone(arguments.encoder).eval()
        extractor = WhisperFeatureExtractor.from_pretrained(arguments.encoder)
    stock = WhisperEncoder(masked.config).eval()
    stock.load_state_dict(masked.state_dict())

    waveforms = sorted(draw_clips(arguments), key=len)
    batches = [waveforms[i : i + arguments.batch_size] for i in range(0, len(waveforms), arguments.batch_size)]
    tokenizer = build_tokenizer()
    own = [MSERProcessor(extractor, tokenizer).extract_features(batch) for batch in batches]
    padded = [MSERProcessor(extractor, tokenizer, pad_to="30s").extract_features(batch) for batch in batches]
    works = {
        "masked": lambda: [masked(**batch) for batch in own],
        "stock": lambda: [stock(batch["input_features"]) for batch in padded],
    }
    with torch.inference_mode():
        taken = alternate(works, arguments.repeats, "Encoding")
    rounds = {name: [seconds / len(waveforms) for seconds in each] for name, each in taken.items()}
    compared = Comparison("encoder", rounds["masked"], rounds["stock"], "s per clip", "less")
    return {
        "seconds_per_clip": {name: statistics.median(times) for name, times in rounds.items()},
        "ratio": compared.summary["ratio"],
        "ratio_of_each_round": compared.ratios,
        "rounds": rounds,
        "clips": {"count": len(waveforms), "mean_seconds": sum(map(len, waveforms)) / len(waveforms) / SAMPLING_RATE},
        "encoder_parameters": sum(parameter.numel() for parameter in masked.parameters()),
        "arguments": asdict(arguments),
        "machine": {
            "processor": processor_name(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def draw_clips(arguments: BenchmarkArguments) -> list[np.ndarray]:
    """Draw waveforms `(num_samples,)` at 16 kHz between the minimum and the maximum length."""
    random = np.random.default_rng(arguments.seed)
    shortest, longest = (round(seconds * SAMPLING_RATE) for seconds in arguments.seconds)
    if arguments.corpus is None:
        lengths = random.integers(shortest, longest, size=arguments.clips, endpoint=True)
        return [0.1 * random.standard_normal(length, dtype=np.float32) for length in lengths]
    ((name, path),) = parse_corpora([arguments.corpus]).values()
    rows = read_corpus(name, path).rows
    found: list[np.ndarray] = []
    for index in random.permutation(len(rows)):
        try:
            waveform = load_audio(rows[index]["audio"], SAMPLING_RATE)
        except AudioError:
            continue
        if shortest <= len(waveform) <= longest:
            found.append(waveform)
        if len(found) == arguments.clips:
            break
    if not found:
        raise ValueError(f"{path}: no clip of {arguments.seconds[0]:g} to {arguments.seconds[1]:g} s; widen --seconds")
    return found


def main(words: Sequence[str] | None = None) -> int:
    parser = MSERArgumentParser(BenchmarkArguments, description="The masked encoder and Whisper's padding to 30 s.")
    (arguments,) = parser.parse_args_into_dataclasses(words)
    try:
        results = benchmark(arguments)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    clips, machine, medians = results["clips"], results["machine"], results["seconds_per_clip"]
    print(f"{clips['count']} clips of {clips['mean_seconds']:.2f} s on average, batches of {arguments.batch_size}")
    print(f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}")
    print(f"own length, masked  {medians['masked']:.4f} s per clip")
    print(f"padded to 30 s      {medians['stock']:.4f} s per clip")
    each = results["ratio_of_each_round"]
    print(f"ratio               {results['ratio']:.1f} ({min(each):.1f} to {max(each):.1f} in {len(each)} rounds)")
    if arguments.output:
        write_json(arguments.output, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
