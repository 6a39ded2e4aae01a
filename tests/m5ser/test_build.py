# SPDX-License-Identifier: Apache-2.0
"""Whole builds by the real executor, workers and translator processes, with the toy translators of the tests."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from datasets import Audio, load_dataset
from m5ser_building.processes import children, command_line
from m5ser_building.toy_corpus import (
    ROOT,
    TOY,
    build_command,
    environment,
    run_build,
    shard_bytes,
    toy_config,
    write_corpus,
)
from pyarrow import parquet

from mser_llm.data.translator import TranslatorStartError
from mser_llm.m5ser.build import AnotherBuildError, build
from mser_llm.m5ser.local_executor import keep_to_share


NAMES = [*(f"c{i}" for i in range(10)), "y-raises", "y-declines", "x-short"]


@pytest.fixture(autouse=True)
def toys_are_found(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "clips", NAMES)


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    """(folder, manifest) of a build that nothing disturbed."""
    output = tmp_path_factory.mktemp("built") / "m5ser"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        return output, build(toy_config(corpus, output, shards_per_language=2), progress=False)


def rejects(output):
    table = [row for path in sorted((output / "rejects").iterdir()) for row in parquet.read_table(path).to_pylist()]
    return {row["id"]: (row["stage"], row["reason"]) for row in table}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to processors")
def test_workers_and_their_translators_share_the_processors_out(corpus, tmp_path):
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("there is one processor")
    # Without the source's shards the first that each worker is given has clips to translate.
    config = toy_config(
        corpus,
        tmp_path,
        translator=TOY.replace("Toy", "Placed"),
        workers=2,
        shards_per_language=2,
        include_source=False,
    )
    build(config, progress=False)
    told = {reason for stage, reason in rejects(tmp_path).values() if stage == "translate"}
    half = len(allowed) // 2
    assert told == {" ".join(map(str, share)) for share in (allowed[:half], allowed[half:])}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to processors")
@pytest.mark.parametrize(
    ("allowed", "workers", "shares"),
    [
        ([0, 1, 2, 3, 4], 2, [[0, 1], [2, 3, 4]]),
        ([2, 5, 7], 3, [[2], [5], [7]]),
        ([0, 1], 1, [[0, 1]]),
        ([0, 1], 3, [None, None, None]),
    ],
)
def test_shares_of_the_processors_do_not_overlap(monkeypatch, allowed, workers, shares):
    kept = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(allowed))
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, mine: kept.append(list(mine)))
    for number, share in enumerate(shares):
        kept.clear()
        keep_to_share(number, workers)
        assert kept == ([] if share is None else [share])


@pytest.mark.slow
def test_a_build_that_rejects_every_clip_says_so(corpus, tmp_path):
    done = run_build(corpus, tmp_path / "out", "--min_seconds", "60", "--no_include_source")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1].startswith("It holds no clip: every one was rejected")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "**It holds no clip**" in card and "load_dataset(" not in card
    assert f"| filter | shorter than 60 s | {2 * (len(NAMES) - 2)} |" in card


def test_a_corpus_that_was_moved_is_gone_on_with(corpus, tmp_path, monkeypatch):
    """Two builds in which the second language is missing: the corpus lies elsewhere, or is named from elsewhere."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(corpus, tmp_path / "here")
    whole = build(toy_config(Path("here"), tmp_path / "out"), progress=False)
    for place, folder in (("there", "."), ("../there", "below")):
        for file in (tmp_path / "out").glob("*/de*/*.parquet"):
            file.unlink()
        (tmp_path / "here").rename(tmp_path / "there") if folder == "." else None
        (tmp_path / "below").mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        assert build(toy_config(Path(place), tmp_path / "out"), progress=False) == whole


def test_a_broken_clip_costs_that_clip_with_its_reason(built):
    output, manifest = built
    found = rejects(output)
    assert {key.rpartition("/")[2] for key in found} == {"fr", "de"}
    assert found["folder/clips/y-declines.wav/fr"] == ("translate", "cannot say that")
    assert found["folder/clips/x-short.wav/fr"] == ("filter", "shorter than 0.5 s")
    stage, reason = found["folder/clips/y-raises.wav/de"]
    assert stage == "translate"
    assert "a bug" in reason
    assert len(found) == 2 * 3
    assert manifest["rows"] == 13 + 2 * 10
    assert sum(shard["rejects"] for shard in manifest["shards"]) == 6


def test_the_manifest_says_what_the_shards_hold(built):
    import hashlib

    output, manifest = built
    assert json.loads((output / "manifest.json").read_text(encoding="utf-8")) == manifest
    assert [shard["path"] for shard in manifest["shards"]] == [
        f"data/{language}/train-0000{index}-of-00002.parquet" for language in ("en", "fr", "de") for index in (0, 1)
    ]
    seconds = 0.0
    for shard in manifest["shards"]:
        content = (output / shard["path"]).read_bytes()
        assert shard["sha256"] == hashlib.sha256(content).hexdigest()
        assert shard["bytes"] == len(content)
        rows = parquet.read_table(output / shard["path"]).to_pylist()
        assert shard["rows"] == len(rows)
        assert shard["seconds"] == pytest.approx(sum(row["duration"] for row in rows))
        seconds += shard["seconds"]
    assert manifest["hours"] == pytest.approx(seconds / 3600)
    assert str(output.parent) not in json.dumps(manifest)


@pytest.mark.parametrize("streaming", [False, True])
def test_every_configuration_loads(built, streaming, tmp_path):
    output, _ = built
    for name, count in (("en", 13), ("fr", 10), ("de", 10), ("default", 33)):
        dataset = load_dataset(str(output), name, split="train", streaming=streaming, cache_dir=str(tmp_path))
        assert dataset.features["audio"] == Audio(sampling_rate=16_000, decode=False)
        rows = list(dataset)
        assert len(rows) == count
        assert {row["language"] for row in rows} == ({name} if name != "default" else {"en", "fr", "de"})
        assert all(row["audio"]["bytes"].startswith(b"fLaC") for row in rows)


@pytest.mark.slow
def test_workers_and_their_number_decide_nothing(built, corpus, tmp_path):
    output, manifest = built
    again = build(toy_config(corpus, tmp_path / "again", shards_per_language=2, workers=2), progress=False)
    assert again == manifest
    assert shard_bytes(tmp_path / "again").keys() == shard_bytes(output).keys()
    for name, content in shard_bytes(tmp_path / "again").items():
        if name != "README.md":  # names the folder
            assert content == shard_bytes(output)[name], name


@pytest.mark.slow
def test_a_marker_proves_nothing_and_a_whole_shard_is_kept(built, corpus, tmp_path):
    output, manifest = built
    copy = tmp_path / "copy"
    shutil.copytree(output, copy)
    shutil.rmtree(copy / "logs" / "unused", ignore_errors=True)
    lost = copy / "data" / "fr" / "train-00001-of-00002.parquet"
    cut = copy / "data" / "en" / "train-00000-of-00002.parquet"
    kept = copy / "data" / "de" / "train-00000-of-00002.parquet"
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:1000])
    (copy / "manifest.json").unlink()
    inode = kept.stat().st_ino
    (logs,) = (copy / "logs").iterdir()
    assert len(list((logs / "completions").iterdir())) == 6
    assert build(toy_config(corpus, copy, shards_per_language=2), progress=False) == manifest
    assert kept.stat().st_ino == inode


def test_another_configuration_in_the_same_folder_is_refused(built, corpus):
    output, _ = built
    with pytest.raises(AnotherBuildError, match=r"batch_size: 4 -> 5.*another --output_dir") as refused:
        build(toy_config(corpus, output, shards_per_language=2, batch_size=5), progress=False)
    assert "\n" not in str(refused.value)
    quieter = toy_config(corpus, output, shards_per_language=2, translator_options={"loudness": 0.5})
    with pytest.raises(AnotherBuildError, match=r"translator_fingerprint.loudness: 1.0 -> 0.5"):
        build(quieter, progress=False)


def test_other_source_rows_are_another_configuration(built, corpus, tmp_path):
    output, _ = built
    smaller = tmp_path / "smaller"
    shutil.copytree(corpus, smaller)
    (smaller / "clips" / "c0.wav").unlink()
    with pytest.raises(AnotherBuildError, match=r"corpora.folder.rows: 13 -> 12"):
        build(toy_config(smaller, output, shards_per_language=2), progress=False)


def test_a_translator_that_cannot_start_is_a_clear_stop(corpus, tmp_path):
    config = toy_config(corpus, tmp_path / "x", translator="m5ser_building.toy_translators:Absent")
    with pytest.raises(TranslatorStartError, match="fetch them with the command fetch"):
        build(config, progress=False)
    config = toy_config(corpus, tmp_path / "x", translator="m5ser_building.toy_translators:DiesAtOnce")
    with pytest.raises(TranslatorStartError, match="SIGSEGV"):
        build(config, progress=False)


def test_a_language_that_the_translator_lacks_is_a_clear_stop(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"speaks fr, de, it, not 'es'"):
        build(toy_config(corpus, tmp_path / "x", languages=["fr", "es"]), progress=False)
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_the_command_tells_what_it_built(corpus, tmp_path):
    done = run_build(corpus, tmp_path / "x", "--sample", "7", "--workers", "2")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "x" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["manifest_hash"] in done.stdout
    assert "rejected" in done.stdout
    # One bar, and nothing of datatrove's.
    assert "Building M5SER: 100%" in done.stderr
    assert "PIPELINE" not in done.stdout + done.stderr
    assert (tmp_path / "x" / "config.yaml").read_text(encoding="utf-8").startswith("corpora:")


@pytest.mark.slow
def test_a_killed_worker_is_a_clear_stop(corpus, tmp_path):
    """As by the kernel, for want of memory: datatrove's own pool would wait for ever."""
    recipe = tmp_path / "slow.yaml"
    recipe.write_text("translator_options: {seconds: 0.3}\n", encoding="utf-8")
    process = subprocess.Popen(
        build_command(corpus, tmp_path / "x", str(recipe)),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = tmp_path / "x" / "logs"
    while not list(started.glob("*/progress/00001")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    (worker,) = [pid for pid in children(process.pid) if "spawn_main" in command_line(pid)]
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 2
    last = said.strip().splitlines()[-1]
    assert "was killed (signal 9)" in last and "run the same command again" in last
    assert (tmp_path / "x" / "data" / "en" / "train-00000-of-00001.parquet").is_file()


def test_what_somebody_added_to_the_card_stays(built, corpus, tmp_path):
    output, manifest = tmp_path / "m5ser", built[1]
    shutil.copytree(built[0], output)
    config, card = toy_config(corpus, output, shards_per_language=2), output / "README.md"
    written = card.read_text(encoding="utf-8")
    card.write_text(f"{written}\nThe terms of my own recordings.\n", encoding="utf-8")
    assert build(config, progress=False) == manifest
    assert card.read_text(encoding="utf-8") == f"{written}\nThe terms of my own recordings.\n"
    card.unlink()
    build(config, progress=False)
    assert card.read_text(encoding="utf-8") == written
    # The card of another manifest speaks of another corpus.
    card.write_text("old", encoding="utf-8")
    (output / "manifest.json").unlink()
    build(config, progress=False)
    assert card.read_text(encoding="utf-8") == written
