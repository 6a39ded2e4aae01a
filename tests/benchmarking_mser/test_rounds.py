# SPDX-License-Identifier: Apache-2.0
"""Works take turns, and a ratio above 1 always speaks for us."""

import time

import pytest

from benchmarking_mser.rounds import Comparison, alternate, clips_per_second


@pytest.mark.parametrize("warm_up", [True, False])
def test_works_take_turns_and_the_warm_up_is_not_counted(warm_up: bool):
    calls = []

    def work(name: str):
        def run() -> None:
            calls.append(name)
            time.sleep(0.2 if len(calls) <= 2 else 0.01)  # cold

        return run

    seconds = alternate({"a": work("a"), "b": work("b")}, rounds=3, warm_up=warm_up)
    assert calls == ["a", "b"] * (3 + warm_up)
    assert {name: len(each) for name, each in seconds.items()} == {"a": 3, "b": 3}
    assert (max(seconds["a"]) >= 0.2) is not warm_up
    assert min(seconds["b"]) >= 0.01


@pytest.mark.parametrize(("better", "ratio"), [("more", 4.0), ("less", 0.25), ("share", 4.0)])
def test_the_ratio_is_of_the_medians(better, ratio):
    comparison = Comparison("c", [8.0, 1.0, 9.0], [2.0, 2.0, 50.0], "u", better)
    assert comparison.figures == {"name": "c", "ours": 8.0, "other": 2.0, "ratio": ratio, "unit": "u"}
    each = [4.0, 0.5, 0.18]
    assert comparison.ratio_of_each_round == pytest.approx(each if better != "less" else [1 / one for one in each])


def test_seconds_become_clips_a_second():
    figures = clips_per_second("c", 16, [0.5], [4.0]).figures
    assert (figures["ours"], figures["other"], figures["ratio"]) == (32.0, 4.0, 8.0)


@pytest.mark.parametrize(
    ("target", "met"), [("", None), (">= 2", True), (">= 2.1", False), ("<= 2", True), ("<= 1", False)]
)
def test_a_target_is_met_or_not(target: str, met: bool | None):
    assert Comparison("c", [2.0], [1.0], "u", "more", target).met is met
