# SPDX-License-Identifier: Apache-2.0
"""Lengths are read from headers, of files and of bytes."""

import io

import numpy as np
import soundfile
from protocol_rows import row

from mser_llm.evaluation.protocols.clip_lengths import within_seconds


def test_within_seconds_includes_limits_and_broken_files(tmp_path):
    rows = []
    for number, seconds in enumerate((0.499, 0.5, 1.0, 1.001)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.zeros(round(8000 * seconds)), 8000)
        rows.append(row(number, "emodb", "3", "sad") | {"duration": None, "audio": {"bytes": None, "path": str(path)}})
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(16000), 8000, format="FLAC")
    rows.append(rows[0] | {"audio": {"bytes": buffer.getvalue(), "path": "nowhere.flac"}})
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    rows.append(rows[0] | {"audio": {"bytes": None, "path": str(tmp_path / "broken.wav")}})
    # A duration that is known is not read again.
    rows.append(rows[0] | {"duration": 0.75})

    kept, left_out = within_seconds(rows, 0.5, 1.0)

    assert kept == [rows[1], rows[2], rows[5], rows[6]]
    assert left_out == {"longer than 1 s": 2, "shorter than 0.5 s": 1}
