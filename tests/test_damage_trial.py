# SPDX-License-Identifier: Apache-2.0
"""A damaged checkpoint or backbone never changes an answer without an error."""

from pathlib import Path

import damage_trial
import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damage_never_changes_an_answer_silently(tmp_path: Path, capsys: pytest.CaptureFixture):
    table, faults = damage_trial.run(tmp_path, mutations=520, seed=2503)
    with capsys.disabled():
        print(f"\n{damage_trial.table_text(table)}")
    assert not faults, "\n".join(faults)
    assert sum(counts.total() for counts in table.values()) == 520
    # Not all is caught by one check, and not all of the files decide an answer.
    assert all(counts["error"] > 0 for counts in table.values())
