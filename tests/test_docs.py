# SPDX-License-Identifier: Apache-2.0
"""Every command in README.md and docs/ is accepted by the real parser, and marked blocks run.

A block after `<!-- test: run -->` is executed, with the other marked blocks of its page, in order and in one folder.
"""

import importlib
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from fresh_installation import DEMO

import run_mser
from mser_llm.cli.parser import MSERArgumentParser


ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^(<!-- test: run -->\s*\n)?```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNNERS = ("python", "python3", "torchrun")


@dataclass
class Block:
    page: Path
    language: str
    text: str
    marked: bool


def blocks():
    for page in PAGES:
        for marked, language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            yield Block(page, language, text, bool(marked))


def commands():
    """(page, words) of every command in a bash block, without leading variable assignments."""
    for block in blocks():
        if block.language == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s(?:&&|\|\||\||;)\s", line):
                    words = shlex.split(part, comments=True)
                    while words and re.fullmatch(r"\w+=.*", words[0]):
                        words.pop(0)
                    if words:
                        yield block.page, words


def mser_arguments(words):
    """The words after `run-mser` or `run_mser.py` in a command; None for another program."""
    for index, word in enumerate(words):
        if Path(word).name in ("run-mser", "run_mser.py") and (index == 0 or Path(words[0]).name in RUNNERS):
            return words[index + 1 :]
    return None


COMMANDS = [
    (page, words)
    for page, words in commands()
    if words[0] == "make" or Path(words[0]).name in RUNNERS or mser_arguments(words) is not None
]


def identify(value):
    return value.name if isinstance(value, Path) else " ".join(value)[:80]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=identify)
def test_command_exists_and_accepts_its_arguments(page, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = mser_arguments(words)
    if arguments is None:
        check_program(page, words)
    elif arguments[:1] not in (["--help"], ["--version"]):
        name, arguments = run_mser.split_command(arguments)
        assert name is not None, f"{page.name}: {run_mser.explain_unknown_command(arguments)}"
        module = importlib.import_module(run_mser.COMMANDS[name][0])
        if "--help" not in arguments:
            arguments = [word for word in arguments if word != "--traceback"]
            MSERArgumentParser(module.ARGUMENTS, prog=f"run-mser {name}").parse_args_into_dataclasses(arguments)


def check_program(page, words):
    """Check a target of make, a Python module or a script."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert all("=" in word or word in targets for word in words[1:]), f"{page.name}: {words}"
    elif "-m" in words:
        module = words[words.index("-m") + 1]
        assert importlib.util.find_spec(module) is not None, f"{page.name}: no module {module}"
    elif "-c" not in words:
        script = next(word for word in words[1:] if word.endswith(".py"))
        assert (ROOT / script).is_file(), f"{page.name}: no script {script}"


@pytest.mark.parametrize(
    "block", [block for block in blocks() if block.language == "python"], ids=lambda b: b.page.name
)
def test_python_block_compiles(block):
    compile(block.text, str(block.page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_links_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: no {target}"
    named = re.findall(r"`((?:[\w.]+/)*\w+\.py)`", text)
    assert not [name for name in named if "/" in name and not (ROOT / name).exists()]


def run_block(block, script, warm_python):
    """Run a Python block, or `run-mser` commands, in a Python that has its imports done."""
    if block.language == "python":
        script.write_text(block.text, encoding="utf-8")
        return warm_python.run(script)
    for line in block.text.replace("\\\n", " ").strip().splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "run-mser", f"{block.page.name}: only run-mser may be used: {line}"
        done = warm_python.run(ROOT / "run_mser.py", *words)
        if done.returncode:
            break
    return done


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.marked and b.page == page for b in blocks())], ids=identify
)
def test_marked_blocks_run(page, tmp_path, request, warm_python, monkeypatch):
    marked = [block for block in blocks() if block.page == page and block.marked]
    if any(DEMO in block.text for block in marked):
        shutil.copytree(request.getfixturevalue("finished_demo"), tmp_path, dirs_exist_ok=True)
        if page != PAGES[0]:  # README tests that a repeated demo finds its work done
            marked = [block for block in marked if block.text.strip() != DEMO]
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(marked):
        done = run_block(block, tmp_path / f"block_{number}.py", warm_python)
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
