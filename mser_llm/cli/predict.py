# SPDX-License-Identifier: Apache-2.0
"""`run-mser predict`: the emotion in audio files, one line a file.

run-mser predict recordings/ --model runs/demo/model
run-mser predict a.wav b.mp3 --model runs/demo/model --labels happy,sad,angry --json
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mser_llm.cli.answer_lines import AnswerLines, shows_colour, terminal_width


if TYPE_CHECKING:
    from mser_llm.inference.recognition import Recognition


HELP = "Name the emotion in audio files or folders, one line a file."


@dataclass
class PredictArguments:
    files: list[str] = field(
        metadata={"positional": True, "help": "audio files; folders are searched for audio, sub-folders included"}
    )
    model: str = field(metadata={"help": "folder of a trained model, or its id on the Hub"})
    labels: str | None = field(
        default=None,
        metadata={"help": "four, seven, or words separated by commas; by default the model's own words, else seven"},
    )
    allow_unlearned_labels: bool = field(
        default=False,
        metadata={
            "help": "accept labels that a language model trained from scratch never learned; the result is marked: "
            "their scores mean nothing"
        },
    )
    json: bool = field(default=False, metadata={"help": "one JSON object a line"})
    batch_size: int = field(default=16, metadata={"help": "clips per forward pass"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda or cuda:N"})
    decode: Literal["score", "generate"] = field(
        default="score",
        metadata={"help": "score compares the candidate words; generate reads a word out of the model's free text"},
    )
    quantize: Literal["int8", "4bit"] | None = field(
        default=None,
        metadata={"help": "int8 for encoder and language model on a CPU, 4bit for the language model on CUDA"},
    )
    compile: bool = field(
        default=False, metadata={"help": "run through torch.compile, which takes minutes before the first answer"}
    )


ARGUMENTS = PredictArguments


def run(args: PredictArguments) -> int:
    """Print an answer for each file in the order given; returns 0, or 1 if any file could not be read."""
    from processing_mser import find_audio, label_set
    from processing_mser.emotions_mser import words_of_model

    if not args.files:
        raise ValueError("nothing to do; give audio files or folders")
    chosen = None if args.labels is None else label_set(args.labels)
    files = find_audio(args.files)
    if all(file.is_dir() for file in files):
        raise ValueError(f"{' '.join(args.files)}: no audio found; give audio files, or folders that hold some")

    from tqdm.auto import tqdm

    from modeling_mser.labels_mser import check_labels
    from mser_llm.inference.compilation import check_compiler
    from mser_llm.inference.loading import load_model, pick_device
    from mser_llm.inference.recognition import recognize
    from mser_llm.inference.scoring_options import ScoringOptions

    options = ScoringOptions.from_arguments(args)
    if args.compile:
        check_compiler(pick_device(args.device))
    model, processor = load_model(args.model, args.device, quantize=args.quantize)
    words = words_of_model(model.config.emotion_words) if chosen is None else chosen.words
    unlearned = check_labels(model.config, words, args.allow_unlearned_labels)
    if unlearned:
        print(
            f"warning: the model never learned {', '.join(unlearned)}; their scores mean nothing (marked with ?)",
            file=sys.stderr,
        )
    scored = args.decode == "score"
    lines = AnswerLines(files, words, unlearned, scored, terminal_width(sys.stdout), shows_colour(sys.stdout))
    answers = recognize(model, processor, files, words, options)
    failed = False
    narrow: list[tuple[Path, float]] = []
    with tqdm(total=len(files), unit="clip", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        for file, answer in zip(files, answers, strict=True):
            line = _json_line(file, answer) if args.json else lines.text(file, answer)
            with tqdm.external_write_mode(file=sys.stdout):
                _print(line)
            failed = failed or answer.error is not None
            if answer.bandwidth_hz is not None:
                narrow.append((file, answer.bandwidth_hz))
            bar.update()
    _warn_of_narrow_bands(narrow, len(files))
    return 1 if failed else 0


def _warn_of_narrow_bands(narrow: Sequence[tuple[Path, float]], num_files: int) -> None:
    if narrow:
        file, hertz = narrow[0]
        print(
            f"warning: {len(narrow)} of {num_files} files have no sound above 4 kHz (telephone quality), which makes "
            f"their answers less reliable; the first is {str(file)!r} ({hertz / 1000:.1f} kHz)",
            file=sys.stderr,
        )


def _json_line(file: Path, answer: "Recognition") -> str:
    if answer.error is not None:
        return json.dumps({"file": str(file), "error": answer.error}, ensure_ascii=False)
    line: dict[str, Any] = {"file": str(file), "label": answer.label, "scores": None}
    if answer.scores is not None:
        line["scores"] = {word: round(score, 6) for word, score in answer.scores.items()}
    if answer.unlearned_labels:
        line["unlearned_labels"] = list(answer.unlearned_labels)
    if answer.bandwidth_hz is not None:
        line["bandwidth_hz"] = answer.bandwidth_hz
    if answer.text is not None:
        line["text"] = answer.text
    return json.dumps(line, ensure_ascii=False)


def _print(line: str) -> None:
    """One line at once. A file name may hold bytes that are no text, and must not end the run."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
