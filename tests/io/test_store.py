# SPDX-License-Identifier: Apache-2.0
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import limit_file_size

from mser_llm.io.hashing import digest
from mser_llm.io.store import Store


VALUES = {digest(number): bytes([number]) * number * 100 for number in range(5)}


def read_all(directory, keys=VALUES):
    store = Store(directory)
    return {key: store.get(key) for key in keys}


def test_store_returns_values_to_other_processes(tmp_path):
    other = Store(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    with Store(tmp_path / "cache") as store:
        store.write(VALUES)
        assert {key: store.get(key) for key in VALUES} == VALUES
        assert len(store) == len(VALUES)
    key = next(iter(VALUES))
    assert key not in other and other.get(key) is None
    other.refresh()
    assert key in other and other.get(key) == VALUES[key]
    assert read_all(tmp_path / "cache") == VALUES


def test_store_replaces_a_value(tmp_path):
    store = Store(tmp_path)
    key = digest("key")
    for value in (b"first", b"second, longer"):
        store.write({key: value})
        assert store.get(key) == Store(tmp_path).get(key) == value


@pytest.mark.parametrize("lost", [1, 390, 420, 447, "a bit"])
def test_store_ignores_an_incomplete_or_damaged_last_value(tmp_path, lost):
    Store(tmp_path).write(VALUES)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if lost == "a bit" else content[:-lost])
    (tmp_path / "other.store").write_bytes(bytes(1000))
    last = list(VALUES)[-1]
    assert read_all(tmp_path) == VALUES | {last: None}
    with Store(tmp_path) as store:
        store.write({last: VALUES[last]})
    assert read_all(tmp_path) == VALUES


def test_store_prefers_the_newest_of_several_files(tmp_path):
    key = digest("key")
    for number in range(10):  # file names are random
        with Store(tmp_path) as store:
            store.write({key: b"%d" % number})
        (file,) = set(tmp_path.iterdir()) - {path for path in tmp_path.iterdir() if path.stat().st_mtime < 1000}
        os.utime(file, (number, number))
        assert Store(tmp_path).get(key) == b"%d" % number


def test_store_survives_deletion_of_its_directory(tmp_path):
    store = Store(tmp_path / "cache")
    store.write(VALUES)
    shutil.rmtree(tmp_path / "cache")
    assert store.get(next(iter(VALUES))) is None
    store.write(VALUES)
    assert {key: store.get(key) for key in VALUES} == read_all(tmp_path / "cache") == VALUES


def write_many(directory, number):
    store = Store(directory)
    for step in range(50):
        store.write({digest(number, step): f"{number} {step}".encode() * 50, digest("shared", step): b"same"})


def test_store_takes_values_of_many_writers(tmp_path):
    context = multiprocessing.get_context("fork")
    inherited = Store(tmp_path)
    inherited.write({digest("parent"): b"parent"})
    processes = [context.Process(target=write_many, args=(tmp_path, number)) for number in range(3)]
    processes.append(context.Process(target=inherited.write, args=({digest("child"): b"child"},)))
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    inherited.write({digest("parent", 2): b"again"})
    store = Store(tmp_path)
    assert len(store) == 3 * 50 + 50 + 3
    assert store.get(digest(2, 49)) == b"2 49" * 50
    assert [store.get(digest(name)) for name in ("parent", "child")] == [b"parent", b"child"]


def test_store_keeps_what_a_killed_process_wrote(tmp_path):
    script = (
        "import os, signal, sys\nfrom mser_llm.io.store import Store\nfrom mser_llm.io.hashing import digest\n"
        "Store(sys.argv[1]).write({digest(1): b'value'})\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, tmp_path], check=False).returncode == -signal.SIGKILL
    assert Store(tmp_path).get(digest(1)) == b"value"


def test_store_can_be_pickled(tmp_path):
    store = Store(tmp_path)
    store.write(VALUES)
    copy = pickle.loads(pickle.dumps(store))
    copy.write({digest("new"): b"new"})
    assert len(Store(tmp_path)) == len(VALUES) + 1


def test_store_keeps_none_of_a_batch_when_the_disk_is_full(tmp_path):
    store = Store(tmp_path)
    key, *others = VALUES
    store.write({key: VALUES[key]})
    with limit_file_size(700), pytest.raises(OSError) as raised:
        store.write(VALUES)
    assert raised.value.filename.startswith(str(tmp_path))
    assert read_all(tmp_path) == dict.fromkeys(others) | {key: VALUES[key]}
    store.write(VALUES)
    assert read_all(tmp_path) == VALUES


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_reader_finds_all_values_after_an_interrupted_write(tmp_path, error):
    first, second, *others = VALUES

    class Interrupted(dict):
        def items(self):
            yield second, b"replaced" * 50
            reader.refresh()
            store._writer.write(b"MSER" + bytes([1] * 30))  # a part of a header
            raise error

    with Store(tmp_path) as store:
        store.write({first: VALUES[first]})
        reader = Store(tmp_path)
        with pytest.raises(error):
            store.write(Interrupted(second=b""))
        for key in (second, *others):
            store.write({key: VALUES[key]})
    reader.refresh()
    assert {key: reader.get(key) for key in VALUES} == read_all(tmp_path) == VALUES


def test_reader_ignores_a_file_that_shrinks_while_it_reads(tmp_path, monkeypatch):
    Store(tmp_path).write(VALUES)
    (file,) = tmp_path.iterdir()
    before = file.stat()
    os.truncate(file, 10)
    monkeypatch.setattr(Path, "stat", lambda path, **options: before if path == file else os.stat(path, **options))
    assert list(tmp_path.glob("*")) == [file] and len(Store(tmp_path)) == 0
