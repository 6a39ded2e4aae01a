# SPDX-License-Identifier: Apache-2.0
"""Run `run-mser train` under FSDP without a GPU. A script for test_sharded_training.py.

Usage: accelerate launch --config_file configs/accelerate/fsdp.yaml --num_processes 2 sharded_training.py KILL_STEP …

accelerate ignores the FSDP settings without an accelerator, although PyTorch shards weights over gloo too. This script
applies them. With a KILL_STEP other than `never` the last process kills itself before that step.
"""

import os
import signal
import sys
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule

from mser_llm.training.trainer import MSERTrainer
from run_mser import main


def take_fsdp() -> None:
    begin = AcceleratorState.__init__

    def __init__(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        begin(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin

    AcceleratorState.__init__ = __init__


def watch(kill_step: str) -> None:
    rank, last = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]) - 1
    step = MSERTrainer.training_step

    def training_step(self: MSERTrainer, *args: Any, **kwargs: Any) -> Any:
        assert isinstance(self.model, FSDPModule), "the weights are not sharded"
        if rank == last and str(self.state.global_step) == kill_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *args, **kwargs)

    MSERTrainer.training_step = training_step


if __name__ == "__main__":
    take_fsdp()
    watch(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
