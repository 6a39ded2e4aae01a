# SPDX-License-Identifier: Apache-2.0
"""Several processes: configurations of `accelerate launch`, what really starts, a warning where fewer do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from free_port import free_port

from processing_mser import label_set
from training_mser.planning.skeleton import build_skeleton
from training_mser.processes import missing_processes


HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONFIGS = ROOT / "configs" / "accelerate"
KINDS = {"ddp": DistributedType.MULTI_GPU, "fsdp": DistributedType.FSDP, "deepspeed": DistributedType.DEEPSPEED}
# What accelerate's launcher for one process leaves in the environment of `--cpu --num_processes 2`.
ALONE = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def accelerate(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "accelerate.commands.launch", *words]
    environment = {name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "MASTER_ADDR")}
    environment |= {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=ROOT)


def training(tones: Path, folder: Path) -> list[str]:
    return [
        *("run_mser.py", "train", str(HERE / "recipe.yaml"), "--corpora", f"folder={tones}", "--max_steps", "2"),
        *("--output_dir", str(folder / "run"), "--cache_dir", str(folder / "cache"), "--eval_strategy", "no"),
        *("--load_best_model_at_end", "false", "--save_strategy", "no"),
    ]


@pytest.mark.parametrize("name", KINDS)
def test_a_configuration_is_one_that_accelerate_launches(name: str):
    path = CONFIGS / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert config.distributed_type == KINDS[name]
    words = ["--config_file", str(path), "--num_processes", "3", "run_mser.py"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert arguments.num_processes == 3
    assert (arguments.multi_gpu, arguments.use_fsdp, arguments.use_deepspeed) == (
        name == "ddp",
        name == "fsdp",
        name == "deepspeed",
    )


def test_fsdp_wraps_layers_that_the_papers_model_has(recipe_of):
    wrapped = yaml.safe_load((CONFIGS / "fsdp.yaml").read_text())["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"]
    skeleton = build_skeleton(recipe_of("paper/stage1"), label_set("seven").words)
    classes = [type(module).__name__ for module in skeleton.model.modules()]
    for name in wrapped.split(","):
        assert classes.count(name) == 32


@pytest.mark.parametrize(
    ("environment", "running", "told"),
    [
        ({}, 1, None),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, 2, None),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, 1, None),
        ({"MASTER_ADDR": "node7"}, 1, None),
        (ALONE, 1, "several processes were asked for, and 1 is training"),
        ({"WORLD_SIZE": "4"}, 1, "4 processes were asked for, and 1 is training"),
        ({"SLURM_STEP_NUM_TASKS": "8"}, 1, "8 processes were asked for, and 1 is training"),
    ],
)
def test_a_warning_says_that_fewer_run_than_were_asked_for(
    environment: dict[str, str], running: int, told: str | None
):
    line = missing_processes(environment, running)
    assert line is None if told is None else line is not None and told in line and "\n" not in line


@pytest.mark.slow
def test_ddp_starts_two_processes_without_a_gpu(tones: Path, tmp_path: Path):
    words = ["--config_file", str(CONFIGS / "ddp.yaml"), "--num_processes", "2", "--main_process_port", free_port()]
    done = accelerate(*words, *training(tones, tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["num_processes"] == 2
    assert "were asked for" not in done.stdout


@pytest.mark.slow
def test_a_launcher_that_starts_one_of_two_processes_is_told_of(tones: Path, tmp_path: Path):
    done = accelerate("--cpu", "--num_processes", "2", *training(tones, tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["num_processes"] == 1
    warnings = [line for line in done.stdout.splitlines() if "were asked for" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("Warning: several processes were asked for, and 1 is training")
