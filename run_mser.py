# SPDX-License-Identifier: Apache-2.0
"""The entry point: `run-mser COMMAND ...`, or `python run_mser.py COMMAND ...` in a checkout.

A command is a module of `mser_llm/cli` with `ARGUMENTS` (a dataclass, or a tuple of sections), `HELP` (a sentence) and
`run(*arguments) -> int | None`. Its name may have two words (`m5ser build`). A module is imported when its command is
called, and imports torch and transformers only when it runs.

Exit status: 0 done; 1 done, but not for every input (`predict` with a broken file); 2 an error that the user can fix,
reported in one line (any `ValueError`, `OSError` or `ImportError`; `--traceback`, or MSER_TRACEBACK=1, shows the
stack); 130 interrupted.
"""

import difflib
import importlib
import logging
import os
import sys
from collections.abc import Sequence


COMMANDS = {
    "demo": ("mser_llm.cli.demo", "build synthetic speech, train two stages, evaluate on unseen languages, predict"),
    "train": ("mser_llm.cli.train", "train a model from a recipe"),
    "plan": ("mser_llm.cli.plan", "estimate the memory and time of a training"),
    "evaluate": ("mser_llm.cli.evaluate", "evaluate a model on labelled corpora"),
    "compare": ("mser_llm.cli.compare", "test whether one system is better than another on the same clips"),
    "reproduce": ("mser_llm.cli.reproduce", "reproduce a table or figure of the papers next to the published numbers"),
    "predict": ("mser_llm.cli.predict", "recognize the emotion in audio files or folders"),
    "corpora": ("mser_llm.cli.corpora", "compare the contents of corpora with what is expected"),
    "protocols": ("mser_llm.cli.protocols", "list the papers' tests, or show one with its published numbers"),
    "probe": ("mser_llm.cli.probe", "evaluate the layers of a frozen encoder with linear probes"),
    "baselines": ("mser_llm.cli.baselines", "compare a trained model with baselines in one table"),
    "bench": ("mser_llm.cli.bench", "measure speed and memory next to other models (needs a checkout)"),
    "robustness": ("mser_llm.cli.robustness", "evaluate a model under noise, coding and other disturbances"),
    "push": ("mser_llm.cli.push", "publish a trained model on the Hugging Face Hub"),
    "space": ("mser_llm.cli.space", "serve a page to try a model in the browser"),
    "m5ser build": (
        "mser_llm.cli.m5ser_build",
        "translate emotional speech into other languages and filter it",
    ),
    "m5ser analyse": ("mser_llm.cli.m5ser_analyse", "check whether the translations kept their emotions"),
    "m5ser push": ("mser_llm.cli.m5ser_push", "publish a built corpus on the Hugging Face Hub"),
}


def usage() -> str:
    """Format the text of `run-mser --help`."""
    lines = [
        "usage: run-mser COMMAND [ARGUMENTS]",
        "",
        "Recognize emotion in speech, in any language, with a language model.",
        "",
        "commands:",
        *(f"  {name:<15}{summary}" for name, (_, summary) in COMMANDS.items()),
        "",
        "options:",
        "  -h, --help     show this text; `run-mser COMMAND --help` lists the arguments of a command",
        "  --version      show the installed version",
        "  --traceback    on an error, show the stack",
    ]
    return "\n".join(lines)


def split_command(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Split the words into the command they begin with, None if there is none, and the rest."""
    for count in (1, 2):
        if " ".join(words[:count]) in COMMANDS:
            return " ".join(words[:count]), list(words[count:])
    return None, list(words)


def explain_unknown_command(words: Sequence[str]) -> str:
    """Name the nearest command, or all of them, for words that begin with no command."""
    if words[0].startswith("-"):
        near = difflib.get_close_matches(words[0], ("--help", "--version", "--traceback"), n=1, cutoff=0.75)
        command = next((word for word in words if word in COMMANDS), "predict")
        fix = f"did you mean {near[0]}?" if near else f"write the command first: run-mser {command} {words[0]} ..."
        return f"{words[0]} is not an option of run-mser itself; {fix}"
    family = [name for name in COMMANDS if name.split()[0] == words[0]]
    if family and len(words) == 1:
        return f"{words[0]} needs a second word; choose from {', '.join(family)}"
    # Full names, and their second words alone: `analyse` is m5ser analyse.
    known = {spelling: name for name in family or COMMANDS for spelling in (name, name.split()[-1])}
    typed = " ".join(words[:2]) if family else words[0]
    for attempt, cutoff in ((" ".join(words[:2]), 0.75), (words[1] if family else words[0], 0.6)):
        spelled = attempt.lower().replace("_", " ").replace("-", " ")
        near = difflib.get_close_matches(spelled, known, n=1, cutoff=cutoff)
        if near:
            return f"{typed} is not a command; did you mean run-mser {known[near[0]]}?"
    return f"{typed} is not a command; choose from {', '.join(family or COMMANDS)}"


def version() -> str:
    """Return the installed version, or say that this is a checkout that was not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mser-llm")
    except PackageNotFoundError:
        return "not installed: a checkout"


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks, or its class if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def is_user_error(error: Exception) -> bool:
    """Return whether the user can fix an error; all others are bugs of this project."""
    # By name, so as not to import the libraries: a full disk, and a configuration that does not fit.
    foreign = {"SafetensorError", "StrictDataclassError"} & {base.__name__ for base in type(error).__mro__}
    return isinstance(error, (ValueError, OSError, ImportError)) or bool(foreign)


def run_command(name: str, words: Sequence[str]) -> int:
    """Import the command, parse its arguments and run it."""
    # peft imports bitsandbytes, which warns on CPUs with AVX512-BF16 of a missing 4-bit kernel that is not used here.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from mser_llm.cli import paused_garbage_collection

    with paused_garbage_collection():
        module = importlib.import_module(COMMANDS[name][0])
        from mser_llm.cli.argument_checks import check_sections
        from mser_llm.cli.parser import MSERArgumentParser

    parser = MSERArgumentParser(module.ARGUMENTS, prog=f"run-mser {name}", description=module.HELP)
    arguments = parser.parse_args_into_dataclasses(words)
    check_sections(arguments)
    return module.run(*arguments) or 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stderr is None:  # closed, as by `2>&-`
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        print("run-mser: error: standard output is closed; redirect it to a file or to /dev/null", file=sys.stderr)
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
    name, rest = split_command(words)
    if name is None:
        print(f"run-mser: error: {explain_unknown_command(words)}", file=sys.stderr)
        return 2
    try:
        status = run_command(name, rest)
        # Flush here, so that a full disk or a closed pipe is reported like any other error.
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("run-mser: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the output (`| head`) is gone; what is still buffered must not fail at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if show_traceback or not is_user_error(error):
            raise
        print(f"run-mser: error: {one_line(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
