# SPDX-License-Identifier: Apache-2.0
"""Write shards: atomic, one writer at a time, and reproducible to the byte."""

import io
import subprocess
import sys

import m5ser_folder
import numpy as np
import pytest
import soundfile
from datatrove.data import Document
from pyarrow import parquet

from mser_llm.data.schema import M5SER_SCHEMA, REJECTS_SCHEMA, new_row
from mser_llm.m5ser.clip import CLIP, Clip
from mser_llm.m5ser.shards import Shard
from mser_llm.m5ser.writing import WriteShard, encode


def documents(count, broken=()):
    random = np.random.default_rng(0)
    for i in range(count):
        row = new_row(id=f"c/{i}", path="x", corpus="mead", emotion="sad", language="en", speaker="mead-1")
        clip = Clip(row, "fr", transcript="oui", translator="toy")
        clip.speech = 0.2 * random.standard_normal(800).astype(np.float32)
        if i in broken:
            clip.reject("filter", "shorter than 1 s", 0.05)
        yield Document(text="", id=clip.id, metadata={CLIP: clip})


def write(folder, data, build="build"):
    shard = Shard(folder, "fr", 0, 2)
    step = WriteShard([shard], build, folder / "locks", folder / "progress")
    list(step.run(data, 0, 1))
    return shard


def test_encode_is_lossless_and_reproducible():
    clip = np.linspace(-1, 1, 5000, dtype=np.float32)
    assert encode(clip) == encode(clip.copy())
    samples, rate = soundfile.read(io.BytesIO(encode(clip)), dtype="int16")
    assert rate == 16_000
    expected = [max(-32768, min(32767, round(float(x) * 32768))) for x in clip]
    assert samples.tolist() == expected
    # Louder than full scale is scaled down, not clipped.
    assert encode(3 * clip) == encode(clip)


def test_write_shard_writes_rows_and_rejects(tmp_path):
    shard = write(tmp_path, documents(250, broken=(3, 240)))
    table, rejects = parquet.read_table(shard.data), parquet.read_table(shard.rejects)
    assert table.schema.equals(M5SER_SCHEMA)
    assert rejects.schema.equals(REJECTS_SCHEMA)
    # The folders with which other tests check readers and `load_dataset` have the same schema.
    assert M5SER_SCHEMA.equals(m5ser_folder.SCHEMA, check_metadata=True)
    assert [row["source_id"] for row in rejects.to_pylist()] == ["c/3", "c/240"]
    assert rejects.to_pylist()[0] | {"id": ""} == {
        "id": "", "source_id": "c/3", "source_corpus": "mead", "language": "fr", "stage": "filter",
        "reason": "shorter than 1 s", "value": 0.05,
    }  # fmt: skip
    row = table.slice(0, 1).to_pylist()[0]
    assert row.pop("audio")["path"] == "mead_c_0_fr.flac"
    assert row == {
        "id": "mead/c/0/fr", "emotion": "sad", "language": "fr", "corpus": "m5ser", "speaker": "mead-1",
        "gender": None, "transcript": "oui", "duration": 0.05, "split": "train", "source_id": "c/0",
        "source_corpus": "mead", "source_split": None, "translator": "toy",
    }  # fmt: skip
    # The memory of workers and streaming readers is bounded.
    metadata = parquet.read_metadata(shard.data)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [100, 100, 48]


def test_source_row_has_no_source_id_and_a_shard_may_be_empty(tmp_path):
    (document,) = documents(1)
    document.metadata[CLIP].translator = None
    row = parquet.read_table(write(tmp_path / "one", iter([document])).data).to_pylist()[0]
    assert (row["source_id"], row["source_corpus"], row["translator"]) == (None, "mead", None)
    shard = write(tmp_path / "none", documents(1, broken=(0,)))
    assert parquet.read_table(shard.data).num_rows == 0
    assert parquet.read_table(shard.data).schema.equals(M5SER_SCHEMA)


def test_interrupted_shard_is_absent_and_the_next_writer_cleans_up(tmp_path):
    def fails():
        yield from documents(150)
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write(tmp_path, fails())
    shard = Shard(tmp_path, "fr", 0, 2)
    assert not shard.data.exists()
    assert not shard.rejects.exists()
    left = shard.data.with_name(f".{shard.data.name}.999.unfinished")
    left.write_bytes(b"of a killed writer")
    write(tmp_path, documents(2))
    assert [path.name for path in shard.data.parent.iterdir()] == [shard.data.name]


@pytest.mark.parametrize("harm", ["cut", "empty", "no rejects", "another build"])
def test_only_an_incomplete_shard_is_built_again(tmp_path, harm):
    shard = write(tmp_path, documents(5), build="before" if harm == "another build" else "build")
    complete = shard.data.read_bytes()
    if harm == "cut":
        shard.data.write_bytes(complete[:-100])
    elif harm == "empty":
        shard.data.write_bytes(b"")
    elif harm == "no rejects":
        shard.rejects.unlink()
    assert not shard.is_complete("build")
    write(tmp_path, documents(5))
    assert shard.is_complete("build")
    inode = shard.data.stat().st_ino
    write(tmp_path, iter([None]))  # is not read
    assert shard.data.stat().st_ino == inode
    if harm != "another build":
        assert shard.data.read_bytes() == complete


def test_shard_lock_excludes_other_processes(tmp_path):
    shard = Shard(tmp_path, "fr", 0, 2)
    attempt = (
        "import fcntl, sys\n"
        "try: fcntl.lockf(open(sys.argv[1], 'wb'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except OSError: sys.exit(7)\n"
    )

    def status():
        return subprocess.run(
            [sys.executable, "-c", attempt, str(tmp_path / "locks" / "fr-00000")], check=False
        ).returncode

    with shard.lock(tmp_path / "locks"):
        assert status() == 7
    assert status() == 0
