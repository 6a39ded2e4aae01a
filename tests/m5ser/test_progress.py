# SPDX-License-Identifier: Apache-2.0
import io
import time

from mser_llm.m5ser.progress import show_progress


def test_progress_bar_does_not_block_the_build_if_its_output_breaks(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        broken = False

        def write(self, text):
            if self.broken:
                raise BrokenPipeError
            return super().write(text)

    monkeypatch.setattr("sys.stderr", Terminal())
    with show_progress(tmp_path, [1], [0], True):
        Terminal.broken = True
        time.sleep(0.7)  # longer than the interval of the bar
