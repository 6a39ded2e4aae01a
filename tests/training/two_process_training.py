# SPDX-License-Identifier: Apache-2.0
"""Run `run-mser train` as one of several processes. A script for test_two_processes.py.

Usage: torchrun … two_process_training.py FOLDER KILL_STEP train RECIPE …

Each process writes its trained weights, including those of objectives and of a target, to `FOLDER/rankN.pt` before the
best checkpoint is loaded. With a KILL_STEP other than `never` the last process kills itself with SIGKILL before that
step.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from mser_llm.training.trainer import MSERTrainer
from run_mser import main


def watch(folder: Path, kill_step: str) -> None:
    rank, last = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]) - 1
    step, load_best = MSERTrainer.training_step, MSERTrainer._load_best_model

    def training_step(self: MSERTrainer, *args: Any, **kwargs: Any) -> Any:
        if rank == last and str(self.state.global_step) == kill_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *args, **kwargs)

    def load_best_model(self: MSERTrainer) -> None:
        trained = self.accelerator.unwrap_model(self.model).state_dict()
        target = {} if self.shadow is None else {f"target.{name}": own for name, own in self.shadow.weights.items()}
        torch.save(trained | self.objective_callback.objectives.state_dict() | target, folder / f"rank{rank}.pt")
        load_best(self)

    MSERTrainer.training_step, MSERTrainer._load_best_model = training_step, load_best_model


if __name__ == "__main__":
    watch(Path(sys.argv[1]), sys.argv[2])
    status = main(sys.argv[3:])
    assert status or not torch.distributed.is_initialized(), "a finished training did not leave its process group"
    sys.exit(status)
