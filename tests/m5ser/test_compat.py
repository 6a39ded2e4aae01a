# SPDX-License-Identifier: Apache-2.0
import inspect
from importlib.metadata import version

from datatrove.executor.base import PipelineExecutor


def test_datatrove_has_the_private_method_that_runs_one_rank():
    method = getattr(PipelineExecutor, "_run_for_rank", None)
    release = f"datatrove {version('datatrove')}: adapt mser_llm/m5ser/compat.py"
    assert method is not None, release
    assert list(inspect.signature(method).parameters)[:3] == ["self", "rank", "local_rank"], release
