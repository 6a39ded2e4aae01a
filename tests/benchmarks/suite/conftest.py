# SPDX-License-Identifier: Apache-2.0
"""The benchmark's model at its smallest sizes."""

import pytest

from benchmarks.suite.sizes import QUICK
from benchmarks.suite.systems import OwnModel, build_own_model


@pytest.fixture(scope="session")
def own() -> OwnModel:
    return build_own_model(QUICK)
