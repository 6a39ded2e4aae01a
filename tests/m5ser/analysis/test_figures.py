# SPDX-License-Identifier: Apache-2.0
import pytest

from mser_llm.m5ser.analysis.figures import speakers_figure


@pytest.mark.parametrize(("least", "most"), [(1, 2), (10, 29), (10, 40), (4, 70), (1, 1000)])
def test_speakers_figure_bars_cover_equally_many_integers(least, most):
    (axes,) = speakers_figure([(clips, 1) for clips in range(least, most + 1)]).axes
    heights = [bar.get_height() for bar in axes.patches]
    # The last bar may reach beyond the maximum.
    assert sum(heights) == most - least + 1 and len(heights) <= 20
    assert len(set(heights[:-1])) == 1 and 0 < heights[-1] <= heights[0]
