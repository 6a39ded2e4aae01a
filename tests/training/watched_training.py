# SPDX-License-Identifier: Apache-2.0
"""Run `run-mser train` as one of several processes, and kill it with SIGKILL at a given moment. A script of the tests.

Usage: watched_training.py MOMENT FOLDER train RECIPE …

MOMENT is `never`, `step:N` (the last process, before that step), `cache` (after the first shard), `save:begun`
(weights written, optimizer not) or `save:written` (all files written, not yet renamed).

Each process writes its trained weights, including those of objectives and of a target, to `FOLDER/rankN.pt` before the
best checkpoint is loaded. Under FSDP, FOLDER is not used. accelerate ignores the FSDP settings without an accelerator,
although PyTorch shards weights over gloo too. This script applies them.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule

from mser_llm.io.store import Store
from mser_llm.training.checkpointing import AtomicCheckpointMixin
from mser_llm.training.trainer import MSERTrainer
from run_mser import main


SHARDED = "ACCELERATE_USE_FSDP" in os.environ
RANK, LAST = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")) - 1


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    step, write = MSERTrainer.training_step, Store.write

    def training_step(self: MSERTrainer, *args: Any, **kwargs: Any) -> Any:
        assert isinstance(self.model, FSDPModule) == SHARDED
        if RANK == LAST and moment == f"step:{self.state.global_step}":
            die()
        return step(self, *args, **kwargs)

    def write_and_die(self: Store, *args: Any) -> None:
        write(self, *args)
        die()

    MSERTrainer.training_step = training_step
    if moment == "save:begun":
        MSERTrainer._save_optimizer_and_scheduler = die
    elif moment == "save:written":
        AtomicCheckpointMixin._publish = die
    elif moment == "cache":
        Store.write = write_and_die


def record_weights(folder: Path) -> None:
    load_best = MSERTrainer._load_best_model

    def load_best_model(self: MSERTrainer) -> None:
        trained = self.accelerator.unwrap_model(self.model).state_dict()
        target = {} if self.shadow is None else {f"target.{name}": own for name, own in self.shadow.weights.items()}
        torch.save(trained | self.objective_callback.objectives.state_dict() | target, folder / f"rank{RANK}.pt")
        load_best(self)

    MSERTrainer._load_best_model = load_best_model


def shard() -> None:
    begin = AcceleratorState.__init__

    def __init__(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        begin(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin

    AcceleratorState.__init__ = __init__


if __name__ == "__main__":
    arm(sys.argv[1])
    if SHARDED:
        shard()
    else:
        record_weights(Path(sys.argv[2]))
    status = main(sys.argv[3:])
    assert status or not torch.distributed.is_initialized(), "a finished training did not leave its process group"
    sys.exit(status)
