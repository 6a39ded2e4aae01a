# SPDX-License-Identifier: Apache-2.0
"""The parser: positionals, recipes as defaults under flags, errors in one line."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
import yaml

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.recipes import RecipeError, find_recipe, read_recipe, recipe_folder
from mser_llm.cli.training_section import TrainingSection


class Color(Enum):
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
    color: Color = Color.RED
    layers: list[int] = field(default_factory=lambda: [1])
    modules: str | list[str] | None = None
    text_config: dict | None = None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps: must not be negative,\ngot {self.steps}")


@dataclass
class Other:
    seed: int = 0


def parse(sections, arguments):
    return MSERArgumentParser(sections, prog="run-mser job").parse_args_into_dataclasses(arguments)


def words_of(tmp_path, content, *flags):
    path = tmp_path / "recipe.yaml"
    path.write_text(content, encoding="utf-8")
    return [str(path), *flags]


def parse_recipe(tmp_path, content, *flags):
    return parse((Recipe, Other), words_of(tmp_path, content, *flags))


def error_of(capsys, sections, arguments):
    """Return the single line with which the parser exits."""
    with pytest.raises(SystemExit) as left:
        parse(sections, arguments)
    assert left.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("run-mser job: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def error_of_recipe(tmp_path, capsys, content, *flags):
    return error_of(capsys, (Recipe, Other), words_of(tmp_path, content, *flags))


def test_positional_list_takes_all_words_and_needs_one(capsys):
    (arguments,) = parse(Files, ["a.wav", "b c.wav", "--label", "x"])
    assert arguments == Files(files=["a.wav", "b c.wav"], label="x")
    assert "files" in error_of(capsys, Files, [])
    assert parse(MaybeFiles, []) == (MaybeFiles(files=[], target=None),)


def test_flags_override_the_recipe_and_the_recipe_the_defaults(tmp_path):
    recipe, other = parse_recipe(
        tmp_path,
        "corpora: [ravdess=/a, nemo=/b c]\nsteps: 20\nrate: 0.5\nflag: true\nshuffle: false\nseed: 3\n",
        *("--steps", "10", "--flag", "false", "--shuffle"),
    )
    # `--steps 10` is the default of the class and overrides the recipe too.
    assert (recipe.steps, recipe.flag, recipe.shuffle) == (10, False, True)
    assert (recipe.rate, recipe.corpora, other.seed) == (0.5, ["ravdess=/a", "nemo=/b c"], 3)
    assert (recipe.name, recipe.limit) == ("none", None)
    again, _ = parse_recipe(tmp_path, "corpora: x", "--no_shuffle")
    assert (again.steps, again.shuffle, again.layers) == (10, False, [1])


def test_flags_may_have_hyphens():
    @dataclass
    class Sizes:
        batch_size: int = 1

    assert parse(Sizes, ["--batch-size", "3"]) == parse(Sizes, ["--batch-size=3"]) == (Sizes(3),)


def test_required_flag_may_come_from_the_recipe(tmp_path, capsys):
    assert parse_recipe(tmp_path, "corpora: a=b")[0].corpora == ["a=b"]
    assert "--corpora" in error_of_recipe(tmp_path, capsys, "steps: 1")


def test_sections_become_dicts_and_have_no_flag(tmp_path, capsys):
    recipe, _ = parse_recipe(tmp_path, "corpora: x\ntext_config:\n  hidden_size: 8\n  rope: {theta: 1e4}\n")
    assert recipe.text_config == {"hidden_size": 8, "rope": {"theta": 10000.0}}
    assert "text_config" in error_of_recipe(tmp_path, capsys, "corpora: x", "--text_config", "{}")
    assert "text_config" in error_of_recipe(tmp_path, capsys, "corpora: x\ntext_config: tiny")


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
        ("modules: all-linear", "modules", "all-linear"),
        ("modules: [q, v]", "modules", ["q", "v"]),
        ("mode: sum", "mode", "sum"),
        ("color: blue", "color", "blue"),
        ("stage: 2", "stage", "2"),
        ('stage: "2"', "stage", "2"),
        ('name: "007"', "name", "007"),
    ],
)
def test_recipe_values_get_the_type_of_their_argument(tmp_path, line, attribute, value):
    read = getattr(parse_recipe(tmp_path, f"corpora: x\n{line}")[0], attribute)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("rate: fast", "rate: expected a number, got 'fast'"),
        ("rate: true", "got True"),
        ("steps: 1.5", "got 1.5"),
        ("steps: .inf", "got inf"),
        ("steps:", "steps: "),
        ("flag: 1", "got 1"),
        ('flag: "yes"', "got 'yes'"),
        ("name: no", "got False"),
        ("name: 007", "name: "),
        ("mode: no", "'mean', 'sum', got False"),
        ("stage: 2.5", "'1', '2', got 2.5"),
        ("mode: max", "got 'max'"),
        ("color: green", "'red', 'blue', got 'green'"),
        ("layers: [2, x]", "layers: "),
        ("step: 3", "'steps'"),
        ("config: other.yaml", "'config'"),
        ("steps: 1\nsteps: 2", "line 3: "),
        ("steps: [", "recipe.yaml, line "),
        ("steps: -1", "steps: must not be negative, got -1"),
    ],
)
def test_recipe_errors_name_the_key_and_the_value(tmp_path, capsys, line, named):
    assert named in error_of_recipe(tmp_path, capsys, f"corpora: x\n{line}\n")


@pytest.mark.parametrize(
    ("content", "fix"),
    [(b"- a\n- b\n", "mapping"), (b"words\n", "mapping"), (b"1: 2\n", "mapping"), (b"\xff\xfe\x00", "UTF-8")],
)
def test_recipe_has_to_be_a_mapping_of_names_in_utf8(tmp_path, content, fix):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as raised:
        read_recipe(path)
    assert raised.value.source == str(path) and fix in raised.value.fix


def test_exploding_aliases_are_rejected_at_once(tmp_path, capsys):
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    bomb = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *levels, "corpora: *a8"])
    cycles = ("corpora: &a [*a]", "text_config: &a {b: *a}", f"corpora: {'[' * 5000}{']' * 5000}")
    for content in (bomb, *cycles, f"corpora: x\nsteps: {'x' * 10_000}"):
        message = error_of_recipe(tmp_path, capsys, content)
        assert "recipe.yaml" in message and len(message) < 400
    recipe, _ = parse_recipe(tmp_path, "corpora: &names [x, y]\ntext_config: {a: *names}\n")
    assert (recipe.corpora, recipe.text_config) == (["x", "y"], {"a": ["x", "y"]})


@pytest.mark.parametrize(
    ("flag", "suggested"),
    [("--num_train_epoch", "--num_train_epochs"), ("--epochs", "--num_train_epochs"), ("--zzz", "--help")],
)
def test_unknown_flag_suggests_the_nearest(flag, suggested, capsys):
    @dataclass
    class Training:
        model: str
        num_train_epochs: int = 1
        epoch_batches: int = 1

    message = error_of(capsys, Training, [flag, "3"])
    assert flag in message
    assert suggested in message


def test_missing_arguments_are_named_together(tmp_path, monkeypatch, capsys):
    @dataclass
    class Evaluation:
        model: str
        corpora: list[str] = field(metadata={"help": "corpora as NAME=PATH"})
        files: list[str] = field(metadata={"positional": True, "help": "audio files"})

    monkeypatch.chdir(tmp_path)
    message = error_of(capsys, Evaluation, [])
    for part in ("files (audio files)", "--model", "--corpora (corpora as NAME=PATH)", "run-mser demo"):
        assert part in message
    for name, model_type in (("mine", "mser"), ("other", "bert")):
        (tmp_path / "runs" / name / "model").mkdir(parents=True)
        (tmp_path / "runs" / name / "model" / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    message = error_of(capsys, Evaluation, ["a.wav"])
    assert "runs/mine/model" in message
    assert "other" not in message
    assert "audio files" not in message


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["r.yaml", "--steps", "x"], "'x'"),
        (["r.yaml", "--mode", "max"], "'max'"),
        (["r.yaml", "--flag", "maybe"], "'maybe'"),
        (["r.yaml", "--name", "happy", "sad"], "'sad'"),
        (["--step", "3", "r.yaml", "--corpora", "x"], "--steps"),
        (["r.yaml", "--ste", "3"], "--ste"),
    ],
)
def test_usage_errors_name_the_flag_or_the_value(capsys, words, named):
    """An unknown flag comes before its value as a recipe; flags have no abbreviations."""
    assert named in error_of(capsys, (Recipe, Other), words)


def test_training_arguments_share_a_parser_with_others(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"corpora: x\noutput_dir: {tmp_path / 'out'}\nlearning_rate: 1e-5\nlr_scheduler_kwargs: {{num_cycles: 2}}\n"
        "report_to: none\nsave_strategy: epoch\nlr_scheduler_type: cosine\n"
    )
    recipe, training = parse((Recipe, TrainingSection()), [str(path), "--num_train_epochs", "2"])
    assert recipe.corpora == ["x"]
    assert (training.learning_rate, training.num_train_epochs) == (1e-5, 2.0)
    assert (training.lr_scheduler_kwargs, training.save_strategy) == ({"num_cycles": 2}, "epoch")


def test_help_shows_defaults_only_if_there_are_any(capsys):
    @dataclass
    class Helped:
        files: list[str] = field(metadata={"positional": True, "help": "what to read"})
        model: str = field(metadata={"help": "required"})
        corpora: list[str] = field(default_factory=list, metadata={"help": "may be empty"})
        output_dir: str | None = field(default=None, metadata={"help": "by default runs/WHAT"})
        steps: int = field(default=0, metadata={"help": "counted"})

    with pytest.raises(SystemExit) as left:
        parse(Helped, ["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert "what to read" in text and "by default runs/WHAT" in text
    assert text.count("(default:") == 1 and "counted (default: 0)" in text


def test_recipe_is_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = sorted(recipe_folder().rglob("*.yaml"))[0]
    relative = recipe.relative_to(recipe_folder())
    for name in (f"configs/{relative}", str(relative), str(relative.with_suffix(""))):
        assert find_recipe(name).samefile(recipe)
    mine = tmp_path / "configs" / relative
    mine.parent.mkdir(parents=True)
    mine.write_text("steps: 1\n")
    assert find_recipe(f"configs/{relative}").samefile(mine), "a file at the path comes first"


def test_missing_recipe_lists_the_known_ones(tmp_path):
    files = {str(path.relative_to(recipe_folder())) for path in recipe_folder().rglob("*.yaml")}
    launching = {name for name in files if name.startswith("accelerate")}
    with pytest.raises(RecipeError) as raised:
        find_recipe(str(tmp_path / "none.yaml"))
    assert launching and all((name in raised.value.fix) == (name not in launching) for name in files)
    with pytest.raises(RecipeError) as raised:
        find_recipe("tiny/stge2")
    assert "did you mean tiny/stage2.yaml?" in raised.value.fix
    with pytest.raises(RecipeError) as raised:
        find_recipe(str(tmp_path))
    assert raised.value.source == str(tmp_path)


def test_recipes_of_the_project_read_as_plain_yaml():
    """Otherwise another tool would read other values."""
    for path in sorted(recipe_folder().rglob("*.yaml")):
        assert read_recipe(path) == yaml.safe_load(Path(path).read_text(encoding="utf-8")), path
