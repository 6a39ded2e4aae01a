# SPDX-License-Identifier: Apache-2.0
"""Alternating rounds, and ratios of comparisons."""

from types import SimpleNamespace

import pytest

from benchmarks.suite import rounds
from benchmarks.suite.rounds import Comparison, clips_per_second


@pytest.mark.parametrize("warm_up", [True, False])
def test_alternate_excludes_the_warm_up(warm_up: bool, monkeypatch: pytest.MonkeyPatch):
    calls, now = [], [0.0]
    monkeypatch.setattr(rounds, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def work(name: str):
        def run() -> None:
            calls.append(name)
            now[0] += 64.0 if len(calls) <= 2 else len(calls)  # slow warm-up

        return run

    seconds = rounds.alternate({"a": work("a"), "b": work("b")}, rounds=3, warm_up=warm_up)
    assert calls == ["a", "b"] * (3 + warm_up)
    expected = {"a": [64.0, 3.0, 5.0, 7.0], "b": [64.0, 4.0, 6.0, 8.0]}
    assert seconds == {name: each[1:] if warm_up else each[:3] for name, each in expected.items()}


@pytest.mark.parametrize(("better", "ratio"), [("more", 4.0), ("less", 0.25), ("share", 4.0)])
def test_ratio_is_of_the_medians(better, ratio):
    comparison = Comparison("c", [8.0, 1.0, 9.0], [2.0, 2.0, 50.0], "u", better)
    assert comparison.summary == {"name": "c", "ours": 8.0, "other": 2.0, "ratio": ratio, "unit": "u"}
    each = [4.0, 0.5, 0.18]
    assert comparison.ratios == pytest.approx(each if better != "less" else [1 / one for one in each])


def test_clips_per_second():
    summary = clips_per_second("c", 16, [0.5], [4.0]).summary
    assert (summary["ours"], summary["other"], summary["ratio"]) == (32.0, 4.0, 8.0)


@pytest.mark.parametrize(
    ("target", "met"), [("", None), (">= 2", True), (">= 2.1", False), ("<= 2", True), ("<= 1", False)]
)
def test_target_is_met_or_missed(target: str, met: bool | None):
    assert Comparison("c", [2.0], [1.0], "u", "more", target).met is met
