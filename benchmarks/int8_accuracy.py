# SPDX-License-Identifier: Apache-2.0
"""Measure the accuracy cost and the speed-up of int8, with a trained model on a labelled corpus.

    python benchmarks/int8_accuracy.py MODEL --corpus emodb=PATH

Both precisions take turns on each batch in one run. Time is CPU time on one thread, so other load matters little;
quote only the ratio.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.data.read_corpus import parse_corpora, read_corpus
from mser_llm.evaluation.evaluation import rows_in_label_set
from mser_llm.evaluation.predictions import Predictions
from mser_llm.inference.loading import load_model
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from processing_mser import label_set


@dataclass
class Int8Arguments:
    model: str = field(metadata={"positional": True, "help": "folder of a trained model"})
    corpus: str = field(metadata={"help": "NAME=PATH"})
    labels: str = field(default="four", metadata={"help": "label set"})
    batch_size: int = field(default=16, metadata={"help": "clips per forward pass"})


def main(words: Sequence[str] | None = None) -> int:
    parser = MSERArgumentParser(Int8Arguments, description="Accuracy and time of int8 compared with float32.")
    (arguments,) = parser.parse_args_into_dataclasses(words)
    torch.set_num_threads(1)
    options = ScoringOptions(batch_size=arguments.batch_size)
    labels = label_set(arguments.labels)
    ((name, path),) = parse_corpora([arguments.corpus]).values()
    rows = rows_in_label_set(name, read_corpus(name, path).rows, labels)
    models = {kind: load_model(arguments.model, "cpu", quantize=kind) for kind in (None, "int8")}
    seconds = dict.fromkeys(models, 0.0)
    clips: dict[str | None, list[dict[str, str]]] = {kind: [] for kind in models}
    step = 4 * arguments.batch_size
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        for kind, (model, processor) in models.items():
            began = time.process_time()
            sources = [row["audio"] for row, _ in part]
            recognitions = list(recognize(model, processor, sources, labels.words, options))
            seconds[kind] += time.process_time() - began
            for (row, truth), recognition in zip(part, recognitions, strict=True):
                if recognition.label is not None:
                    clip = {"corpus": name, "id": row["id"], "emotion": truth, "prediction": recognition.label}
                    clips[kind].append(clip)
    for kind, predicted in clips.items():
        metrics = Predictions.from_clips(labels.words, predicted).metrics()
        print(f"{kind or 'float32'}: UA {metrics['UA']:.4f}, WA {metrics['WA']:.4f}, n {len(predicted)}")
    pairs = zip(clips[None], clips["int8"], strict=True)
    same = sum(one["prediction"] == other["prediction"] for one, other in pairs)
    print(f"same label: {same} of {len(clips[None])} clips")
    print(f"speed-up of int8, reading included: {seconds[None] / seconds['int8']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
