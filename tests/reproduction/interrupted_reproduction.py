# SPDX-License-Identifier: Apache-2.0
"""Run `run-mser` and kill it with SIGKILL at a given moment. A script for test_table2.py.

Usage: interrupted_reproduction.py MOMENT reproduce …

MOMENT is `never`, `step:N:M` (before step M of training N), `record:N` (before the N-th training or evaluation is
recorded as finished) or `predictions:N` (before the results of the N-th evaluation are written).
"""

import os
import signal
import sys
from typing import Any

from mser_llm.evaluation import evaluation
from mser_llm.reproduction import evaluation_cache, runs
from mser_llm.training.trainer import MSERTrainer
from run_mser import main


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(place: Any, name: str, number: int) -> None:
    """Kill the process when a function is called for the N-th time."""
    original, calls = getattr(place, name), []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return die() if len(calls) == number else original(*args, **kwargs)

    setattr(place, name, counted)


def arm(moment: str) -> None:
    kind, *numbers = moment.split(":")
    if kind == "step":
        training, step = map(int, numbers)
        trainings: list[Any] = []
        original = MSERTrainer.training_step

        def training_step(self: MSERTrainer, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step == 0 and self not in trainings:
                trainings.append(self)
            if (len(trainings), self.state.global_step) == (training, step):
                die()
            return original(self, *args, **kwargs)

        MSERTrainer.training_step = training_step
    elif kind == "record":
        for place in (runs, evaluation_cache):
            at_call(place, "write_json", int(numbers[0]))
    elif kind == "predictions":
        at_call(evaluation, "write_results", int(numbers[0]))
    elif moment != "never":
        raise SystemExit(f"unknown moment {moment}")


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
