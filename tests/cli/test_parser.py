# SPDX-License-Identifier: Apache-2.0
"""The parser: positionals, recipes as defaults under flags, and errors in one line."""

import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
import yaml
from transformers import TrainingArguments

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.recipes import find_recipe, read_recipe, recipe_folder


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Files:
    files: list[str] = field(metadata={"positional": True, "help": "what to read"})
    label: str | None = None


@dataclass
class MaybeFiles:
    files: list[str] = field(default_factory=list, metadata={"positional": True})
    target: str | None = field(default=None, metadata={"positional": True})


@dataclass
class Recipe:
    config: str = field(metadata={"positional": True})
    corpora: list[str] = field(metadata={"help": "required"})
    steps: int = 10
    rate: float = 0.1
    name: str = "none"
    flag: bool = False
    shuffle: bool = True
    limit: int | None = None
    mode: Literal["mean", "sum"] = "mean"
    stage: Literal["1", "2"] = "1"
    colour: Colour = Colour.RED
    layers: list[int] = field(default_factory=lambda: [1])
    text_config: dict | None = None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps: must not be negative,\ngot {self.steps}")


@dataclass
class Other:
    seed: int = 0


def parse(dataclasses, arguments):
    return MSERArgumentParser(dataclasses, prog="run-mser job").parse_args_into_dataclasses(arguments)


def parse_recipe(tmp_path, content, *flags):
    path = tmp_path / "recipe.yaml"
    path.write_text(content, encoding="utf-8")
    return parse((Recipe, Other), [str(path), *flags])


def refuse(capsys, call):
    """The single line with which the parser leaves."""
    with pytest.raises(SystemExit) as left:
        call()
    assert left.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("run-mser job: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_positional_list_takes_every_word_and_needs_one(capsys):
    (arguments,) = parse(Files, ["a.wav", "b c.wav", "--label", "x"])
    assert arguments == Files(files=["a.wav", "b c.wav"], label="x")
    assert "files" in refuse(capsys, lambda: parse(Files, []))


def test_positionals_with_a_default_may_be_left_out():
    assert parse(MaybeFiles, []) == (MaybeFiles(files=[], target=None),)


def test_flags_win_over_the_recipe_and_the_recipe_over_the_defaults(tmp_path):
    recipe, other = parse_recipe(
        tmp_path,
        "corpora: [ravdess=/a, nemo=/b c]\nsteps: 20\nrate: 0.5\nflag: true\nshuffle: false\nseed: 3\n",
        *("--steps", "10", "--flag", "false", "--shuffle"),
    )
    # `--steps 10` is the class's own default, said aloud: it still wins.
    assert (recipe.steps, recipe.flag, recipe.shuffle) == (10, False, True)
    assert (recipe.rate, recipe.corpora, other.seed) == (0.5, ["ravdess=/a", "nemo=/b c"], 3)
    assert (recipe.name, recipe.limit) == ("none", None)


def test_a_required_flag_may_come_from_the_recipe_or_the_command_line_but_must_come(tmp_path, capsys):
    assert parse_recipe(tmp_path, "steps: 1", "--corpora", "a=b")[0].corpora == ["a=b"]
    assert "--corpora" in refuse(capsys, lambda: parse_recipe(tmp_path, "steps: 1"))


def test_one_call_leaves_nothing_behind_for_the_next(tmp_path):
    assert parse_recipe(tmp_path, "corpora: x\nsteps: 99\nlayers: [5]")[0].steps == 99
    recipe, _ = parse_recipe(tmp_path, "corpora: x")
    assert (recipe.steps, recipe.layers) == (10, [1])


def test_sections_become_dicts_and_have_no_flag(tmp_path, capsys):
    recipe, _ = parse_recipe(tmp_path, "corpora: x\ntext_config:\n  hidden_size: 8\n  rope: {theta: 1e4}\n")
    assert recipe.text_config == {"hidden_size": 8, "rope": {"theta": 10000.0}}
    assert "text_config" in refuse(capsys, lambda: parse_recipe(tmp_path, "corpora: x", "--text_config", "{}"))
    assert "section" in refuse(capsys, lambda: parse_recipe(tmp_path, "corpora: x\ntext_config: tiny"))


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("rate: 1e-4", "rate", 0.0001),
        ("rate: -2.5E+3", "rate", -2500.0),
        ('rate: "1e-4"', "rate", 0.0001),
        ("rate: 3", "rate", 3.0),
        ("steps: 1e3", "steps", 1000),
        ("limit: null", "limit", None),
        ("limit: 4", "limit", 4),
        ("layers: 3", "layers", [3]),
        ("layers: [2, 3]", "layers", [2, 3]),
        ("mode: sum", "mode", "sum"),
        ("colour: blue", "colour", "blue"),
        ("stage: 2", "stage", "2"),
        ('stage: "2"', "stage", "2"),
        ('name: "no"', "name", "no"),
        ('name: "007"', "name", "007"),
    ],
)
def test_values_are_read_as_their_arguments_type(tmp_path, line, attribute, value):
    read = getattr(parse_recipe(tmp_path, f"corpora: x\n{line}")[0], attribute)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rate: fast", "rate: expected a number, got 'fast'"),
        ("rate: true", "rate: expected a number, got True"),
        ("steps: 1.5", "steps: expected a whole number, got 1.5"),
        ("steps: .inf", "steps: expected a whole number, got inf"),
        ("steps:", "steps: expected a whole number, got nothing"),
        ("flag: 1", "flag: expected true or false, got 1"),
        ("name: no", "got False"),
        ("name: 007", "in quotes"),
        ("mode: no", "expected one of 'mean', 'sum', got False"),
        ("stage: 2.5", "expected one of '1', '2', got 2.5"),
        ("mode: max", "expected one of 'mean', 'sum', got 'max'"),
        ("colour: green", "expected one of 'red', 'blue', got 'green'"),
        ("layers: [2, x]", "layers: expected a list, each item a whole number"),
        ("step: 3", "unknown key 'step'; the nearest known key is 'steps'"),
        ("config: other.yaml", "unknown key 'config'"),
        ("steps: 1\nsteps: 2", "line 3: not valid YAML: 'steps' is there twice"),
        ("steps: [", "not valid YAML"),
        ("steps: -1", "steps: must not be negative, got -1"),
    ],
)
def test_what_a_recipe_gets_wrong_is_told_with_its_key_in_one_line(tmp_path, capsys, line, said):
    message = refuse(capsys, lambda: parse_recipe(tmp_path, f"corpora: x\n{line}\n"))
    assert said in message
    if "negative" not in said:
        assert "recipe.yaml" in message


@pytest.mark.parametrize("content", ["- a\n- b\n", "words\n", "1: 2\n"])
def test_a_recipe_that_is_no_mapping_of_names_is_refused(tmp_path, capsys, content):
    assert "a recipe is a mapping" in refuse(capsys, lambda: parse_recipe(tmp_path, content))


def test_aliases_that_explode_are_refused_at_once(tmp_path, capsys):
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    bomb = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *levels, "corpora: *a8"])
    started = time.monotonic()
    for content in (bomb, "corpora: &a [*a]", "text_config: &a {b: *a}", f"corpora: {'[' * 5000}{']' * 5000}"):
        message = refuse(capsys, lambda content=content: parse_recipe(tmp_path, content))
        assert "recipe.yaml" in message
        assert len(message) < 300
    assert time.monotonic() - started < 5
    recipe, _ = parse_recipe(tmp_path, "corpora: &names [x, y]\ntext_config: {a: *names}\n")
    assert (recipe.corpora, recipe.text_config) == (["x", "y"], {"a": ["x", "y"]})


def test_a_wrong_value_is_quoted_in_part_only(tmp_path, capsys):
    assert len(refuse(capsys, lambda: parse_recipe(tmp_path, f"corpora: x\nsteps: {'x' * 10_000}"))) < 400


def test_a_binary_file_is_no_recipe(tmp_path, capsys):
    path = tmp_path / "model.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8 text" in refuse(capsys, lambda: parse((Recipe, Other), [str(path)]))


def test_an_unknown_flag_is_told_with_its_nearest_even_where_its_value_looks_like_the_recipe(capsys):
    message = refuse(capsys, lambda: parse((Recipe, Other), ["--step", "3", "r.yaml", "--corpora", "x"]))
    assert "unknown flag --step; did you mean --steps?" in message


def test_a_misspelt_flag_is_not_told_as_missing(capsys):
    @dataclass
    class Asked:
        model: str

    assert "unknown flag --modl; did you mean --model?" in refuse(capsys, lambda: parse(Asked, ["--modl", "runs/own"]))
    assert "missing --model" in refuse(capsys, lambda: parse(Asked, []))


@pytest.mark.parametrize(
    ("flag", "suggested"),
    [("--num_train_epoch", "--num_train_epochs"), ("--epochs", "--num_train_epochs"), ("--zzz", "--help")],
)
def test_unknown_flag_gets_its_near_match(flag, suggested, capsys):
    @dataclass
    class Training:
        num_train_epochs: int = 1
        epoch_batches: int = 1

    message = refuse(capsys, lambda: parse(Training, [flag, "3"]))
    assert flag in message
    assert suggested in message


def test_missing_arguments_are_named_together_with_what_they_are(tmp_path, monkeypatch, capsys):
    @dataclass
    class Measured:
        model: str
        corpora: list[str] = field(metadata={"help": "corpora as NAME=PATH"})
        files: list[str] = field(metadata={"positional": True, "help": "audio files"})

    monkeypatch.chdir(tmp_path)
    message = refuse(capsys, lambda: parse(Measured, []))
    for part in ("files (audio files)", "--model", "--corpora (corpora as NAME=PATH)", "run-mser demo"):
        assert part in message
    for name, model_type in (("mine", "mser"), ("other", "bert")):
        (tmp_path / "runs" / name / "model").mkdir(parents=True)
        (tmp_path / "runs" / name / "model" / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    message = refuse(capsys, lambda: parse(Measured, ["a.wav"]))
    assert "runs/mine/model" in message
    assert "other" not in message
    assert "audio files" not in message


def test_a_wrong_value_of_a_flag_is_told_in_one_line(tmp_path, capsys):
    assert "'x'" in refuse(capsys, lambda: parse_recipe(tmp_path, "corpora: x", "--steps", "x"))


def test_flags_are_not_guessed_from_their_first_letters(capsys):
    assert "--lab" in refuse(capsys, lambda: parse(Files, ["a", "--lab", "x"]))
    assert "commas" in refuse(capsys, lambda: parse(Recipe, ["r.yaml", "--name", "happy", "sad"]))


def test_training_arguments_share_a_parser_with_others(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"corpora: x\noutput_dir: {tmp_path / 'out'}\nlearning_rate: 1e-5\nlr_scheduler_kwargs: {{num_cycles: 2}}\n"
        "report_to: none\nsave_strategy: steps\nlr_scheduler_type: cosine\n"
    )
    recipe, training = parse((Recipe, TrainingArguments), [str(path), "--num_train_epochs", "2"])
    assert recipe.corpora == ["x"]
    assert (training.learning_rate, training.num_train_epochs) == (1e-5, 2.0)
    assert (training.lr_scheduler_kwargs, training.save_strategy) == ({"num_cycles": 2}, "steps")


def test_help_shows_positionals_flags_and_defaults(capsys):
    with pytest.raises(SystemExit) as left:
        parse(Files, ["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert "what to read" in text
    assert "--label" in text


def test_help_tells_no_default_where_there_is_none(capsys):
    @dataclass
    class Helped:
        model: str = field(metadata={"help": "required"})
        corpora: list[str] = field(default_factory=list, metadata={"help": "may be empty"})
        output_dir: str | None = field(default=None, metadata={"help": "by default runs/WHAT"})
        steps: int = field(default=0, metadata={"help": "told"})

    with pytest.raises(SystemExit):
        parse(Helped, ["--help"])
    told = capsys.readouterr().out
    assert "by default runs/WHAT" in told and told.count("(default:") == 1 and "told (default: 0)" in told


def test_a_recipe_of_the_project_is_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipes = sorted(recipe_folder().rglob("*.yaml"))
    assert recipes, "the project ships recipes"
    relative = recipes[0].relative_to(recipe_folder())
    for name in (f"configs/{relative}", str(relative), str(relative.with_suffix(""))):
        assert find_recipe(name).samefile(recipes[0])


def test_a_file_at_the_path_given_comes_before_a_recipe_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = sorted(recipe_folder().rglob("*.yaml"))[0].relative_to(recipe_folder())
    mine = tmp_path / "configs" / relative
    mine.parent.mkdir(parents=True)
    mine.write_text("steps: 1\n")
    assert find_recipe(f"configs/{relative}").samefile(mine)


def test_a_missing_recipe_is_told_with_the_known_ones(tmp_path, capsys):
    files = {str(path.relative_to(recipe_folder())) for path in recipe_folder().rglob("*.yaml")}
    launching = {name for name in files if name.startswith("accelerate")}
    message = refuse(capsys, lambda: parse((Recipe, Other), [str(tmp_path / "none.yaml")]))
    assert "none.yaml" in message
    assert launching and all((name in message) == (name not in launching) for name in files)
    assert "did you mean tiny/stage2.yaml?" in refuse(capsys, lambda: parse((Recipe, Other), ["tiny/stge2"]))
    assert "is a folder" in refuse(capsys, lambda: parse((Recipe, Other), [str(tmp_path)]))


def test_every_recipe_of_the_project_reads_as_plain_yaml_does():
    """Where the two differ, another tool that reads the recipe would be misled."""
    for path in sorted(recipe_folder().rglob("*.yaml")):
        assert read_recipe(path) == yaml.safe_load(Path(path).read_text(encoding="utf-8")), path
