# SPDX-License-Identifier: Apache-2.0
"""Run `run-mser train` and kill it with SIGKILL at a given moment. A script for test_resume.py.

Usage: interrupted_training.py MOMENT train RECIPE …

MOMENT is `never`, `step:N`, `cache` (after the first shard), `save:begun` (weights written, optimizer not) or
`save:written` (all files written, not yet renamed).
"""

import os
import signal
import sys
from typing import Any

from mser_llm.io.store import Store
from mser_llm.training.checkpointing import AtomicCheckpointMixin
from mser_llm.training.trainer import MSERTrainer
from run_mser import main


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    kind, _, detail = moment.partition(":")
    if kind == "step":
        steps_before = int(detail)
        original = MSERTrainer.training_step

        def training_step(self: MSERTrainer, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step == steps_before:
                die()
            return original(self, *args, **kwargs)

        MSERTrainer.training_step = training_step
    elif moment == "save:begun":
        MSERTrainer._save_optimizer_and_scheduler = die
    elif moment == "save:written":
        AtomicCheckpointMixin._publish = die
    elif moment == "cache":
        original_write = Store.write

        def write(self: Store, features: Any) -> None:
            original_write(self, features)
            die()

        Store.write = write
    elif moment != "never":
        raise SystemExit(f"unknown moment {moment}")


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
