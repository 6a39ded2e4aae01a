# SPDX-License-Identifier: Apache-2.0
"""The benchmark's model in its minimum size."""

import pytest

from benchmarks.suite.sizes import QUICK
from benchmarks.suite.systems import OwnModel, build_own_model


@pytest.fixture(scope="session")
def own() -> OwnModel:
    return build_own_model(QUICK)
