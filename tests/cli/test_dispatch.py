# SPDX-License-Identifier: Apache-2.0
"""The dispatcher: quick help, lazy imports, exit statuses."""

import dataclasses
import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import run_mser


ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class NoArguments:
    word: str = "said"


def add_command(monkeypatch, run):
    """Put a command made here where the dispatcher finds one."""
    module = types.ModuleType("mser_llm.cli.made_by_test")
    module.ARGUMENTS, module.HELP, module.run = NoArguments, "Made by a test.", run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(run_mser.COMMANDS, "made", (module.__name__, "made by a test"))


def raising(error):
    def run(arguments):
        raise error

    return run


def run_script(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, str(ROOT / "run_mser.py"), *arguments], capture_output=True, text=True, check=False, **kwargs
    )


def test_help_lists_the_commands(tmp_path):
    done = run_script("--help", cwd=tmp_path)
    assert done.returncode == 0
    for name in ("demo", "train", "evaluate", "predict", "corpora", "probe"):
        assert f"\n  {name} " in done.stdout


def test_help_imports_neither_torch_nor_transformers():
    code = (
        "import sys, run_mser; run_mser.main(['--help']); run_mser.main(['--version']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'numpy', 'mser_llm.cli')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode == 0
    )


def test_version_is_that_of_setup_cfg():
    import configparser

    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg")
    assert run_script("--version").stdout.split()[-1] == configuration["metadata"]["version"]


@pytest.mark.slow
def test_a_command_that_imports_peft_says_nothing_of_kernels():
    done = run_script("train", "--help")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(run_mser.COMMANDS))
def test_every_command_keeps_the_contract_and_has_help(name, capsys):
    module = importlib.import_module(run_mser.COMMANDS[name][0])
    classes = module.ARGUMENTS if isinstance(module.ARGUMENTS, tuple) else (module.ARGUMENTS,)
    assert all(dataclasses.is_dataclass(class_) for class_ in classes)
    assert module.HELP.strip()
    assert callable(module.run)
    with pytest.raises(SystemExit) as left:
        run_mser.main([*name.split(), "--help"])
    assert left.value.code == 0
    assert f"run-mser {name}" in capsys.readouterr().out


def test_the_help_of_a_command_does_not_wait_for_torch():
    """Only those of `train` and `plan` do, whose flags are those of transformers' own class.

    Nor for datasets, whose older versions import it.
    """
    code = (
        "import sys, run_mser\n"
        "for name in {*run_mser.COMMANDS} - {'train', 'plan'}:\n"
        "    try: run_mser.main([*name.split(), '--help'])\n"
        "    except SystemExit: pass\n"
        "    for module in {'torch', 'datasets'} & {*sys.modules}: sys.exit(f'{name} --help imports {module}')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_command_and_an_unknown_one_are_errors(capsys):
    assert run_mser.main([]) == 2
    assert "usage" in capsys.readouterr().out
    assert run_mser.main(["dem"]) == 2
    assert "did you mean run-mser demo?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["predct", "clips"], "run-mser predict"),
        (["Evaluate"], "run-mser evaluate"),
        (["m5ser-build"], "run-mser m5ser build"),
        (["m5ser", "bild", "x"], "run-mser m5ser build"),
        (["analyze", "runs/m5ser"], "run-mser m5ser analyse"),
        (["--model", "x", "evaluate"], "run-mser evaluate --model"),
        (["--hepl"], "--help"),
        (["xyz"], "choose from demo, train"),
    ],
)
def test_unknown_command_gets_its_near_match(words, suggested, capsys):
    assert run_mser.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert suggested in captured.err
    assert captured.err.count("\n") == 1


def test_closed_or_full_output_is_one_line_and_status_2():
    def script(redirected: str, *words: str) -> subprocess.CompletedProcess:
        command = f'exec "$0" "$@" {redirected}'
        program = [sys.executable, str(ROOT / "run_mser.py")]
        return subprocess.run(["sh", "-c", command, *program, *words], capture_output=True, text=True, check=False)

    for command in (["predict", "x.wav", "--model", "x"], ["--help"]):
        closed = script(">&-", *command)
        assert closed.returncode == 2
        assert "standard output is closed" in closed.stderr
        assert closed.stderr.count("\n") == 1
    silent = script(">&- 2>&-", "--help")
    assert (silent.returncode, silent.stdout, silent.stderr) == (2, "", "")
    assert script("2>&-", "xyz").stdout == ""
    full = script("> /dev/full", "protocols")
    assert full.returncode == 2
    assert full.stderr.startswith("run-mser: error: ")
    assert full.stderr.count("\n") == 1


def test_a_command_of_two_words(monkeypatch, capsys):
    add_command(monkeypatch, lambda arguments: print(arguments.word))
    monkeypatch.setitem(run_mser.COMMANDS, "made again", run_mser.COMMANDS["made"])
    monkeypatch.delitem(run_mser.COMMANDS, "made")
    assert run_mser.main(["made", "again", "--word", "twice"]) == 0
    assert capsys.readouterr().out == "twice\n"
    assert run_mser.main(["m5ser"]) == 2
    assert "m5ser alone is no command; choose from m5ser build, m5ser analyse, m5ser push" in capsys.readouterr().err
    assert run_mser.main(["m5ser", "bild"]) == 2
    assert "m5ser bild is no command" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("one\ntwo"), FileNotFoundError("one two"), ImportError("one two")])
def test_an_error_the_user_can_cure_is_one_line_and_status_two(monkeypatch, capsys, error):
    add_command(monkeypatch, raising(error))
    monkeypatch.delenv("MSER_TRACEBACK", raising=False)
    assert run_mser.main(["made"]) == 2
    assert capsys.readouterr().err == "run-mser: error: one two\n"


def test_the_stack_is_there_for_the_asking(monkeypatch):
    add_command(monkeypatch, raising(ValueError("one")))
    with pytest.raises(ValueError, match="one"):
        run_mser.main(["made", "--traceback"])
    monkeypatch.setenv("MSER_TRACEBACK", "1")
    with pytest.raises(ValueError, match="one"):
        run_mser.main(["made"])


def test_an_error_of_the_program_is_not_dressed_as_the_users(monkeypatch):
    add_command(monkeypatch, raising(KeyError("bug")))
    with pytest.raises(KeyError):
        run_mser.main(["made"])


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_the_status_is_what_the_command_returns(monkeypatch, returned, status):
    add_command(monkeypatch, lambda arguments: returned)
    assert run_mser.main(["made"]) == status


def test_an_interrupt_is_status_130(monkeypatch, capsys):
    add_command(monkeypatch, raising(KeyboardInterrupt()))
    assert run_mser.main(["made"]) == 130
    assert capsys.readouterr().err == "run-mser: interrupted\n"


def test_arguments_reach_the_command(monkeypatch, capsys):
    add_command(monkeypatch, lambda arguments: print(arguments.word))
    assert run_mser.main(["made", "--word", "heard"]) == 0
    assert capsys.readouterr().out == "heard\n"


def test_a_reader_that_leaves_early_is_no_error():
    """As in `run-mser predict ... | head -1`."""
    code = (
        "import sys, types, dataclasses, run_mser\n"
        "module = types.ModuleType('mser_llm.cli.made')\n"
        "module.ARGUMENTS = dataclasses.make_dataclass('Arguments', [])\n"
        "module.HELP = 'x'\n"
        "module.run = lambda arguments: [print('x' * 1000) for _ in range(10_000)] and None\n"
        "sys.modules['mser_llm.cli.made'] = module\n"
        "run_mser.COMMANDS['made'] = ('mser_llm.cli.made', '')\n"
        "sys.exit(run_mser.main(['made']))\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "MSER_TRACEBACK": "0"},
    )
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.readline()
    writer.stdout.close()
    assert writer.stderr.read() == b""
    assert writer.wait(timeout=240) == 1
