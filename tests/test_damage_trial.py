# SPDX-License-Identifier: Apache-2.0
"""A damaged checkpoint or backbone never changes a prediction without an error."""

from pathlib import Path

import damage_trial
import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damage_never_changes_a_prediction_silently(tmp_path: Path, capsys: pytest.CaptureFixture):
    table, failures = damage_trial.run(tmp_path, mutations=520, seed=2503)
    with capsys.disabled():
        print(f"\n{damage_trial.table_text(table)}")
    assert not failures, "\n".join(failures)
    assert sum(counts.total() for counts in table.values()) == 520
    assert all(counts["error"] > 0 for counts in table.values())
