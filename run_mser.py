# SPDX-License-Identifier: Apache-2.0
"""The one entry: `run-mser COMMAND ...`, or `python run_mser.py COMMAND ...` in a checkout.

A command is a module of `mser_llm/cli` with `ARGUMENTS` (a dataclass, or a tuple of them), `HELP` (a sentence) and
`run(*arguments) -> int | None`. Its name may have two words (`m5ser build`). Modules are imported when they are called
for, so `run-mser --help` does not wait for torch.

Exit status: 0 done; 1 done, but not for every input (`predict` with a broken file); 2 an error the user can cure, told
in one line (any `ValueError`, `OSError` or `ImportError`; `--traceback`, or MSER_TRACEBACK=1, shows the stack);
130 interrupted.
"""

import difflib
import gc
import importlib
import logging
import os
import sys
from collections.abc import Sequence


COMMANDS = {
    "demo": ("mser_llm.cli.demo", "build synthetic speech, train two stages, evaluate on unseen languages, predict"),
    "train": ("mser_llm.cli.train", "train a model from a recipe"),
    "plan": ("mser_llm.cli.plan", "tell what a training will take in memory and time"),
    "evaluate": ("mser_llm.cli.evaluate", "measure a model on labelled corpora"),
    "compare": ("mser_llm.cli.compare", "whether one system is better than another on the same clips"),
    "reproduce": ("mser_llm.cli.reproduce", "run a table or figure of the papers, with their numbers beside ours"),
    "predict": ("mser_llm.cli.predict", "name the emotion in audio files or folders"),
    "corpora": ("mser_llm.cli.corpora", "show what a reader finds in a corpus beside what was expected"),
    "protocols": ("mser_llm.cli.protocols", "list the papers' tests, or show one with its published numbers"),
    "probe": ("mser_llm.cli.probe", "measure the layers of a frozen encoder with linear probes"),
    "baselines": ("mser_llm.cli.baselines", "a trained model in one table with what it has to beat"),
    "bench": ("mser_llm.cli.bench", "measure speed and memory beside other models and the naive path"),
    "robustness": ("mser_llm.cli.robustness", "measure a model under noise, coding and other disturbances"),
    "push": ("mser_llm.cli.push", "publish a trained model on the Hugging Face Hub"),
    "space": ("mser_llm.cli.space", "serve a page to try a model on in the browser"),
    "m5ser build": (
        "mser_llm.cli.m5ser_build",
        "translate emotional speech into other languages and filter it",
    ),
    "m5ser analyse": ("mser_llm.cli.m5ser_analyse", "show whether the translations kept their emotions"),
    "m5ser push": ("mser_llm.cli.m5ser_push", "publish a built corpus on the Hugging Face Hub"),
}


def usage() -> str:
    """The text of `run-mser --help`."""
    lines = [
        "usage: run-mser COMMAND [ARGUMENTS]",
        "",
        "Emotion in speech, in any language, named by a language model.",
    ]
    lines += ["", "commands:", *(f"  {name:<15}{summary}" for name, (_, summary) in COMMANDS.items())]
    lines += ["", "options:", "  -h, --help     this text; `run-mser COMMAND --help` lists a command's arguments"]
    lines += ["  --version      the installed version", "  --traceback    on an error, show the stack"]
    return "\n".join(lines)


def split_command(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The command that the words begin with, None where they begin with none, and the words after it."""
    for count in (1, 2):
        if " ".join(words[:count]) in COMMANDS:
            return " ".join(words[:count]), list(words[count:])
    return None, list(words)


def no_command(words: Sequence[str]) -> str:
    """What to say about words that begin with no command: the near match, or else all commands."""
    if words[0].startswith("-"):
        near = difflib.get_close_matches(words[0], ("--help", "--version", "--traceback"), n=1, cutoff=0.75)
        meant = next((word for word in words if word in COMMANDS), "predict")
        cure = f"did you mean {near[0]}?" if near else f"write run-mser {meant} {words[0]} ..., the command first"
        return f"{words[0]} is no option of run-mser itself; {cure}"
    family = [name for name in COMMANDS if name.split()[0] == words[0]]
    if family and len(words) == 1:
        return f"{words[0]} alone is no command; choose from {', '.join(family)}"
    # As they are written, and by their second words: `analyse` is m5ser analyse.
    known = {spelling: name for name in family or COMMANDS for spelling in (name, name.split()[-1])}
    said = " ".join(words[:2]) if family else words[0]
    for typed, cutoff in ((" ".join(words[:2]), 0.75), (words[1] if family else words[0], 0.6)):
        near = difflib.get_close_matches(typed.lower().replace("_", " ").replace("-", " "), known, n=1, cutoff=cutoff)
        if near:
            return f"{said} is no command; did you mean run-mser {known[near[0]]}?"
    return f"{said} is no command; choose from {', '.join(family or COMMANDS)}"


def version() -> str:
    """The installed version, or what tells that the project runs from a checkout that was not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mser-llm")
    except PackageNotFoundError:
        return "not installed: a checkout"


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; its class where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def users_to_mend(error: Exception) -> bool:
    """Whether an error tells what its reader can mend; all others are faults of this project."""
    # The last are a library's, for a disk that is full and a configuration that does not fit; not imported for a name.
    foreign = {"SafetensorError", "StrictDataclassError"} & {base.__name__ for base in type(error).__mro__}
    return isinstance(error, (ValueError, OSError, ImportError)) or bool(foreign)


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Import the command, parse its arguments and run it."""
    # On processors with AVX512-BF16 it misses, as peft imports it, a kernel for 4 bits, which here are for CUDA alone.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # What is imported stays: looking through it again and again for what can go takes a good part of the start.
    gc.disable()
    try:
        module = importlib.import_module(COMMANDS[name][0])
    finally:
        gc.enable()
    from mser_llm.cli.label_spelling import warn_of_misspelt_labels
    from mser_llm.cli.output_folders import check_folders
    from mser_llm.cli.parser import MSERArgumentParser
    from mser_llm.training.number_bounds import check_numbers

    parser = MSERArgumentParser(module.ARGUMENTS, prog=f"run-mser {name}", description=module.HELP)
    parsed = parser.parse_args_into_dataclasses(list(arguments))
    for section in parsed:
        check_numbers(section, {})
    check_folders(parsed)
    warn_of_misspelt_labels(parsed)
    return module.run(*parsed) or 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stderr is None:  # closed, as by `2>&-`
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        print("run-mser: error: standard output is closed; redirect it to a file, or to /dev/null", file=sys.stderr)
        return 2
    show_traceback = os.environ.get("MSER_TRACEBACK", "") not in ("", "0")
    if "--traceback" in words:
        words.remove("--traceback")
        show_traceback = True
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"mser-llm {version()}")
        return 0
    name, arguments_of_it = split_command(words)
    if name is None:
        print(f"run-mser: error: {no_command(words)}", file=sys.stderr)
        return 2
    try:
        status = run_command(name, arguments_of_it)
        # Now, for a full disk or a closed pipe to be reported as for every other line.
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("run-mser: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (`| head`) is gone. What is still buffered has nowhere to go at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if show_traceback or not users_to_mend(error):
            raise
        print(f"run-mser: error: {one_line(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
