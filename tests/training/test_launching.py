# SPDX-License-Identifier: Apache-2.0
"""Launch several processes with accelerate; warn if fewer run."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from free_port import free_port
from warm_python import WarmPython

from mser_llm.inference.loading import load_model
from mser_llm.training.distributed import missing_processes
from mser_llm.training.step_cost import build_meta_model
from processing_mser import label_set


HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONFIGS = ROOT / "configs" / "accelerate"
KINDS = {"ddp": DistributedType.MULTI_GPU, "fsdp": DistributedType.FSDP, "deepspeed": DistributedType.DEEPSPEED}
# Variables set by accelerate's launcher for one process with `--cpu --num_processes 2`.
ALONE = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def run_alone(command: list[str]) -> subprocess.CompletedProcess:
    """Run a command without the variables of another launcher."""
    environment = {name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "MASTER_ADDR")}
    environment |= {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=ROOT)


def documented_launches() -> list[list[str]]:
    """Return the page's commands that start a training with accelerate."""
    lines = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("accelerate launch")]


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_launches_each_configuration(name: str):
    path = CONFIGS / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert config.distributed_type == KINDS[name]
    words = ["--config_file", str(path), "--num_processes", "3", "run_mser.py"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert arguments.num_processes == 3
    used = {"ddp": arguments.multi_gpu, "fsdp": arguments.use_fsdp, "deepspeed": arguments.use_deepspeed}
    assert [kind for kind, chosen in used.items() if chosen] == [name]


def test_fsdp_wraps_layers_of_the_paper_model(recipe_of):
    wrapped = yaml.safe_load((CONFIGS / "fsdp.yaml").read_text())["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"]
    meta = build_meta_model(recipe_of("paper/stage1"), label_set("seven").words)
    classes = [type(module).__name__ for module in meta.model.modules()]
    for name in wrapped.split(","):
        assert classes.count(name) == 32


@pytest.mark.parametrize(
    ("environment", "running", "message"),
    [
        ({}, 1, None),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, 2, None),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, 1, None),
        ({"MASTER_ADDR": "node7"}, 1, None),
        (ALONE, 1, "several processes were requested, but only 1 trains"),
        ({"WORLD_SIZE": "4"}, 1, "4 processes were requested, but only 1 trains"),
        ({"SLURM_STEP_NUM_TASKS": "8"}, 1, "8 processes were requested, but only 1 trains"),
    ],
)
def test_launch_warns_about_missing_processes(environment: dict[str, str], running: int, message: str | None):
    line = missing_processes(environment, running)
    assert line is None if message is None else line is not None and message in line and "\n" not in line


@pytest.mark.slow
def test_documented_launch_trains_in_each_process(tones: Path, tmp_path: Path):
    words = max(documented_launches(), key=len)
    assert "--num_processes 2" in " ".join(words)
    program, launch, *rest = words
    # The program of this environment, and a free port.
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    assert found is not None
    command = [found, launch, "--main_process_port", free_port(), *rest]
    command[command.index("folder=runs/demo/english")] = f"folder={tones}"
    command[command.index("--output_dir") + 1] = str(tmp_path / "run")
    command += ["--cache_dir", str(tmp_path / "cache"), "--labels", "neutral,happy,sad,angry", "--stage", "joint"]
    command += ["--max_steps", "1", "--eval_strategy", "no", "--load_best_model_at_end", "false"]
    done = run_alone([*command, "--per_device_train_batch_size", "4", "--save_strategy", "no"])
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["num_processes"] == 2
    assert "processes were requested" not in done.stdout
    assert done.stdout.count("The model is in") == 1, "every process reports"
    load_model(str(tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "warned"), [((), False), (("--cpu", "--num_processes", "2"), True)])
def test_launch_of_one_process_warns_if_two_were_requested(flags, warned, warm_python: WarmPython, tmp_path: Path):
    """The launcher sets the variables; `train` reads them before the corpora."""
    (tmp_path / "variables.py").write_text("import json, os; print(json.dumps(dict(os.environ)))")
    launch = [sys.executable, "-m", "accelerate.commands.launch", *flags, str(tmp_path / "variables.py")]
    variables = json.loads(run_alone(launch).stdout.splitlines()[-1])
    words = ["train", HERE.parent / "recipe.yaml", "--corpora", "folder=/nowhere"]
    done = warm_python.run(ROOT / "run_mser.py", *words, environment=variables)
    assert done.returncode == 2 and "/nowhere" in done.stderr
    assert done.stdout.count("Warning: several processes were requested, but only 1 trains") == warned
