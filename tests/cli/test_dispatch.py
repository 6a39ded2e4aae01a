# SPDX-License-Identifier: Apache-2.0
"""The dispatcher: commands, lazy imports, exit statuses."""

import configparser
import dataclasses
import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

import run_mser


ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class NoArguments:
    word: str = "default"


def add_command(monkeypatch, run, name="mine"):
    """Register a command for this test."""
    module = types.ModuleType("mser_llm.cli.of_test")
    module.ARGUMENTS, module.HELP, module.run = NoArguments, "Of a test.", run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(run_mser.COMMANDS, name, (module.__name__, "of a test"))


def raising(error):
    def run(arguments):
        raise error

    return run


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_and_version_import_nothing_heavy():
    done = run_python(
        "import sys, run_mser; run_mser.main(['--help']); run_mser.main(['--version'])\n"
        "sys.exit(' '.join({'torch', 'transformers', 'numpy', 'mser_llm.cli'} & {*sys.modules}))"
    )
    assert done.stderr.strip() == ""
    assert all(f"\n  {name} " in done.stdout for name in run_mser.COMMANDS)
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg")
    assert done.stdout.split()[-1] == configuration["metadata"]["version"]


@pytest.mark.parametrize("name", sorted(run_mser.COMMANDS))
def test_every_command_keeps_the_contract_and_has_help(name, capsys):
    module = importlib.import_module(run_mser.COMMANDS[name][0])
    assert module.HELP.strip()
    assert callable(module.run)
    with pytest.raises(SystemExit) as left:
        run_mser.main([*name.split(), "--help"])
    assert left.value.code == 0
    assert f"run-mser {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["--hepl"]])
def test_help_and_usage_errors_import_neither_torch_nor_transformers(words):
    done = run_python(
        "import sys, run_mser\n"
        "for name in run_mser.COMMANDS:\n"
        f"    try: run_mser.main([*name.split(), *{words!r}])\n"
        "    except SystemExit: pass\n"
        "    heavy = {'torch', 'transformers', 'datasets', 'scipy', 'sklearn', 'pandas'} & {*sys.modules}\n"
        "    if heavy: sys.exit(f'{name} imports {heavy}')"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["predct", "clips"], "run-mser predict"),
        (["Evaluate"], "run-mser evaluate"),
        (["m5ser-build"], "run-mser m5ser build"),
        (["m5ser", "bild", "x"], "run-mser m5ser build"),
        (["m5ser"], "m5ser build, m5ser analyse, m5ser push"),
        (["analyze", "runs/m5ser"], "run-mser m5ser analyse"),
        (["--model", "x", "evaluate"], "run-mser evaluate --model"),
        (["--hepl"], "--help"),
        (["xyz"], "demo, train"),
    ],
)
def test_unknown_command_suggests_the_nearest(words, suggested, capsys):
    assert run_mser.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert suggested in captured.err
    assert captured.err.count("\n") == 1


def test_main_without_arguments_prints_usage(capsys):
    assert run_mser.main([]) == 2
    assert capsys.readouterr().out.startswith("usage")


def test_closed_or_full_output_is_one_line_and_status_2():
    def script(redirection: str, *words: str) -> subprocess.CompletedProcess:
        program = [sys.executable, str(ROOT / "run_mser.py")]
        command = ["sh", "-c", f'exec "$0" "$@" {redirection}', *program, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for redirection, command in ((">&-", "predict"), (">&-", "--help"), ("> /dev/full", "protocols")):
        done = script(redirection, command)
        assert done.returncode == 2
        assert done.stderr.startswith("run-mser: error: ")
        assert done.stderr.count("\n") == 1
    silent = script(">&- 2>&-", "--help")
    assert (silent.returncode, silent.stdout, silent.stderr) == (2, "", "")


@pytest.mark.parametrize("name", ["mine", "mine again"])
def test_arguments_reach_the_command(monkeypatch, capsys, name):
    add_command(monkeypatch, lambda arguments: print(arguments.word), name)
    assert run_mser.main([*name.split(), "--word", "given"]) == 0
    assert capsys.readouterr().out == "given\n"


@pytest.mark.parametrize(
    ("outcome", "status", "printed"),
    [
        (None, 0, ""),
        (0, 0, ""),
        (1, 1, ""),
        (ValueError("one\ntwo"), 2, "run-mser: error: one two\n"),
        (FileNotFoundError("one two"), 2, "run-mser: error: one two\n"),
        (ImportError("one two"), 2, "run-mser: error: one two\n"),
    ],
)
def test_exit_status_is_that_of_the_command_and_user_errors_are_one_line(
    monkeypatch, capsys, outcome, status, printed
):
    add_command(monkeypatch, raising(outcome) if isinstance(outcome, Exception) else lambda _: outcome)
    monkeypatch.delenv("MSER_TRACEBACK", raising=False)
    assert run_mser.main(["mine"]) == status
    assert capsys.readouterr().err == printed


def test_interrupt_is_one_line_and_status_130(monkeypatch, capsys):
    add_command(monkeypatch, raising(KeyboardInterrupt()))
    assert run_mser.main(["mine"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_bug_and_traceback_flag_or_variable_raise_the_error(monkeypatch):
    add_command(monkeypatch, raising(KeyError("bug")))
    with pytest.raises(KeyError):
        run_mser.main(["mine"])
    add_command(monkeypatch, raising(ValueError("one")))
    with pytest.raises(ValueError, match="one"):
        run_mser.main(["mine", "--traceback"])
    monkeypatch.setenv("MSER_TRACEBACK", "1")
    with pytest.raises(ValueError, match="one"):
        run_mser.main(["mine"])
