# SPDX-License-Identifier: Apache-2.0
"""`run-mser predict`: recognize the emotion in audio files, one line per file.

run-mser predict recordings/ --model runs/demo/model
run-mser predict a.wav b.mp3 --model runs/demo/model --labels happy,sad,angry --json
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mser_llm.cli import paused_garbage_collection
from mser_llm.cli.answer_lines import AnswerLines, shows_colour, terminal_width
from mser_llm.cli.dataclass_arguments import option


if TYPE_CHECKING:
    from mser_llm.inference.recognition import Recognition


HELP = "Recognize the emotion in audio files or folders, one line per file."


@dataclass
class PredictArguments:
    files: list[str] = option(help="audio files, or folders, searched with their subfolders", positional=True)
    model: str = option()
    labels: str | None = option(
        None, "four, seven, or words separated by commas; default: the model's own labels, or seven"
    )
    allow_unlearned_labels: bool = False
    json: bool = option(False, "print one JSON object per line")
    batch_size: int = 16
    device: str = "auto"
    decode: Literal["score", "generate"] = "score"
    quantize: Literal["int8", "4bit"] | None = None
    compile: bool = False


ARGUMENTS = PredictArguments


def run(args: PredictArguments) -> int:
    """Print a prediction for each file in the order given; return 0, or 1 if any file cannot be read."""
    from processing_mser import find_audio, label_set

    if not args.files:
        raise ValueError("no files; pass audio files or folders")
    labels = None if args.labels is None else label_set(args.labels)
    files = find_audio(args.files)
    if all(file.is_dir() for file in files):
        raise ValueError(f"{' '.join(args.files)}: no audio found; pass audio files, or folders that contain some")

    with paused_garbage_collection():
        from tqdm.auto import tqdm

        from modeling_mser.labels_mser import check_labels
        from mser_llm.inference.recognizer import load
        from mser_llm.inference.scoring_options import ScoringOptions

        options = ScoringOptions.from_arguments(args)
        recognizer = load(args.model, args.device, labels=labels, quantize=args.quantize, **asdict(options))
    unlearned = check_labels(recognizer.model.config, recognizer.labels, args.allow_unlearned_labels)
    if unlearned:
        print(
            f"warning: the model never learned {', '.join(unlearned)}; these scores (marked with ?) are meaningless",
            file=sys.stderr,
        )
    scored = args.decode == "score"
    lines = AnswerLines(
        files, recognizer.labels, unlearned, scored, terminal_width(sys.stdout), shows_colour(sys.stdout)
    )
    failed = False
    narrow: list[tuple[Path, float]] = []
    with tqdm(total=len(files), unit="clip", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        for file, result in zip(files, recognizer.stream(files), strict=True):
            line = _json_line(file, result) if args.json else lines.text(file, result)
            with tqdm.external_write_mode(file=sys.stdout):
                _print(line)
            failed = failed or result.error is not None
            if result.bandwidth_hz is not None:
                narrow.append((file, result.bandwidth_hz))
            bar.update()
    _warn_of_narrow_band(narrow, len(files))
    return 1 if failed else 0


def _warn_of_narrow_band(narrow: Sequence[tuple[Path, float]], num_files: int) -> None:
    if narrow:
        file, hertz = narrow[0]
        print(
            f"warning: {len(narrow)} of {num_files} files have no sound above 4 kHz (telephone quality), which makes "
            f"predictions less reliable; the first is {str(file)!r} ({hertz / 1000:.1f} kHz)",
            file=sys.stderr,
        )


def _json_line(file: Path, result: "Recognition") -> str:
    if result.error is not None:
        return json.dumps({"file": str(file), "error": result.error}, ensure_ascii=False)
    line: dict[str, Any] = {"file": str(file), "label": result.label, "scores": None}
    if result.scores is not None:
        line["scores"] = {label: round(score, 6) for label, score in result.scores.items()}
    if result.unlearned_labels:
        line["unlearned_labels"] = list(result.unlearned_labels)
    if result.bandwidth_hz is not None:
        line["bandwidth_hz"] = result.bandwidth_hz
    if result.text is not None:
        line["text"] = result.text
    return json.dumps(line, ensure_ascii=False)


def _print(line: str) -> None:
    """Print one line and flush it. Bytes in a file name that are not text are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
