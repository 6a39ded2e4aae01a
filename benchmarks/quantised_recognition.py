# SPDX-License-Identifier: Apache-2.0
"""What int8 costs in accuracy and gains in time: a trained model over a labelled corpus, with and without.

    python benchmarks/quantised_recognition.py MODEL --corpus emodb=PATH

Both answer each batch of clips in turn in one run. Time is the processor's, on one thread, so that what else the
machine does weighs little; only the ratio is worth quoting.
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
class QuantisedArguments:
    model: str = field(metadata={"positional": True, "help": "folder of a trained model"})
    corpus: str = field(metadata={"help": "NAME=PATH"})
    labels: str = field(default="four", metadata={"help": "label set"})
    batch_size: int = field(default=16, metadata={"help": "clips per forward pass"})


def main(words: Sequence[str] | None = None) -> int:
    parser = MSERArgumentParser(QuantisedArguments, description="Accuracy and time of int8 beside full precision.")
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
            answers = list(recognize(model, processor, sources, labels.words, options))
            seconds[kind] += time.process_time() - began
            for (row, truth), answer in zip(part, answers, strict=True):
                if answer.label is not None:
                    clip = {"corpus": name, "id": row["id"], "emotion": truth, "prediction": answer.label}
                    clips[kind].append(clip)
    for kind, answered in clips.items():
        figures = Predictions.from_clips(labels.words, answered).metrics()
        print(f"{kind or 'float32'}: UA {figures['UA']:.4f}, WA {figures['WA']:.4f}, n {len(answered)}")
    pairs = zip(clips[None], clips["int8"], strict=True)
    same = sum(one["prediction"] == other["prediction"] for one, other in pairs)
    print(f"same answer: {same} of {len(clips[None])}")
    print(f"time, float32 over int8, reading included: {seconds[None] / seconds['int8']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
