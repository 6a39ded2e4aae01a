# SPDX-License-Identifier: Apache-2.0
"""Run `run-mser` with limited address space. A script for test_batch_size.py.

Usage: out_of_memory.py MEGABYTES train RECIPE …, MEGABYTES in addition to the memory used at the start.
"""

import resource
import sys
from typing import Any

from mser_llm.training import batch_size
from run_mser import main


def limit(megabytes: int) -> None:
    """Limit memory from the first tried batch on: a trial gets the limit, training twice as much."""
    tried = batch_size._largest

    def limited(*arguments: Any) -> Any:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 10**6, resource.RLIM_INFINITY))
        found = tried(*arguments)
        resource.setrlimit(resource.RLIMIT_AS, (used + 2 * megabytes * 10**6, resource.RLIM_INFINITY))
        return found

    batch_size._largest = limited  # type: ignore[assignment]


if __name__ == "__main__":
    limit(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
