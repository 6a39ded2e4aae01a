# SPDX-License-Identifier: Apache-2.0
"""Complete builds with the real executor, workers and translator processes, and the toy translators of the tests."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from m5ser_building.toy_corpus import TOY, run_build, toy_config, write_corpus
from pyarrow import parquet

from mser_llm.data.translator import LanguageError, TranslatorStartError
from mser_llm.m5ser.build import build
from mser_llm.m5ser.errors import AnotherBuildError
from mser_llm.m5ser.local_executor import limit_cpus


NAMES = [*(f"c{i}" for i in range(10)), "y-raises", "y-declines", "x-short"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "clips", NAMES)


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    """(folder, manifest) of a complete build."""
    output = tmp_path_factory.mktemp("built") / "m5ser"
    return output, build(toy_config(corpus, output, shards_per_language=2), progress=False)


def rejects(output):
    table = [row for path in sorted((output / "rejects").iterdir()) for row in parquet.read_table(path).to_pylist()]
    return {row["id"]: (row["stage"], row["reason"]) for row in table}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_workers_and_their_translators_share_the_cpus(corpus, tmp_path):
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("only one CPU")
    # Without the source's shards each worker's first shard has clips to translate.
    shards = {"workers": 2, "shards_per_language": 2, "include_source": False}
    build(toy_config(corpus, tmp_path, translator=TOY.replace("Toy", "ReportCpus"), **shards), progress=False)
    reported = {reason for stage, reason in rejects(tmp_path).values() if stage == "translate"}
    half = len(allowed) // 2
    assert reported == {" ".join(map(str, share)) for share in (allowed[:half], allowed[half:])}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
@pytest.mark.parametrize(
    ("allowed", "workers", "shares"),
    [
        ([0, 1, 2, 3, 4], 2, [[0, 1], [2, 3, 4]]),
        ([2, 5, 7], 3, [[2], [5], [7]]),
        ([0, 1], 1, [[0, 1]]),
        ([0, 1], 3, [None, None, None]),
    ],
)
def test_limit_cpus_gives_disjoint_shares(monkeypatch, allowed, workers, shares):
    limited = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(allowed))
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, mine: limited.append(list(mine)))
    for number, share in enumerate(shares):
        limited.clear()
        limit_cpus(number, workers)
        assert limited == ([] if share is None else [share])


@pytest.mark.slow
def test_build_command_fails_if_every_clip_is_rejected(corpus, tmp_path):
    done = run_build(corpus, tmp_path / "out", "--min_seconds", "60", "--no_include_source")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "load_dataset(" not in card
    assert f"| filter | shorter than 60 s | {2 * (len(NAMES) - 2)} |" in card


def test_build_resumes_after_the_corpus_was_moved(corpus, tmp_path, monkeypatch):
    """It is named relative to another current directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(corpus, tmp_path / "here")
    complete = build(toy_config(Path("here"), tmp_path / "out"), progress=False)
    (tmp_path / "here").rename(tmp_path / "there")
    for file in (tmp_path / "out").glob("*/de*/*.parquet"):
        file.unlink()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert build(toy_config(Path("../there"), tmp_path / "out"), progress=False) == complete


def test_rejects_have_the_reason_of_each_lost_clip(built):
    output, manifest = built
    found = rejects(output)
    assert {key.rpartition("/")[2] for key in found} == {"fr", "de"}
    assert found["folder/clips/y-declines.wav/fr"] == ("translate", "cannot say that")
    assert found["folder/clips/x-short.wav/fr"] == ("filter", "shorter than 0.5 s")
    stage, reason = found["folder/clips/y-raises.wav/de"]
    assert stage == "translate" and "a bug" in reason
    assert len(found) == sum(shard["rejects"] for shard in manifest["shards"]) == 2 * 3
    assert manifest["rows"] == 13 + 2 * 10


def test_manifest_describes_the_shards(built):
    output, manifest = built
    assert json.loads((output / "manifest.json").read_text(encoding="utf-8")) == manifest
    assert [shard["path"] for shard in manifest["shards"]] == [
        f"data/{language}/train-0000{index}-of-00002.parquet" for language in ("en", "fr", "de") for index in (0, 1)
    ]
    for shard in manifest["shards"]:
        content = (output / shard["path"]).read_bytes()
        assert (shard["sha256"], shard["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
        rows = parquet.read_table(output / shard["path"]).to_pylist()
        assert shard["rows"] == len(rows)
        assert shard["seconds"] == pytest.approx(sum(row["duration"] for row in rows))
    assert manifest["hours"] == pytest.approx(sum(shard["seconds"] for shard in manifest["shards"]) / 3600)
    assert str(output.parent) not in json.dumps(manifest)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"batch_size": 5}, "batch_size: 4 -> 5"),
        ({"translator_options": {"loudness": 0.5}}, "translator_fingerprint.loudness: 1.0 -> 0.5"),
        ({}, "13 -> 12"),
    ],
)
def test_build_rejects_a_folder_of_another_configuration(built, corpus, tmp_path, changes, difference):
    output, _ = built
    if not changes:
        corpus = shutil.copytree(corpus, tmp_path / "smaller")
        (corpus / "clips" / "c0.wav").unlink()
    with pytest.raises(AnotherBuildError) as raised:
        build(toy_config(corpus, output, shards_per_language=2, **changes), progress=False)
    assert difference in raised.value.problem and raised.value.source.startswith(str(output))


@pytest.mark.parametrize(
    ("changes", "error", "value"),
    [
        ({"translator_options": {"at_start": "absent"}}, TranslatorStartError, "weights of 'absent'"),
        ({"translator_options": {"at_start": "dies"}}, TranslatorStartError, "SIGKILL"),
        ({"languages": ["fr", "es"]}, LanguageError, "'es'"),
    ],
)
def test_build_stops_before_writing_if_the_translator_cannot_be_used(corpus, tmp_path, changes, error, value):
    with pytest.raises(error, match=value):
        build(toy_config(corpus, tmp_path / "x", **changes), progress=False)
    assert not (tmp_path / "x").exists()


def test_build_keeps_an_edited_card_of_the_same_corpus(built, corpus, tmp_path):
    output, manifest = tmp_path / "m5ser", built[1]
    shutil.copytree(built[0], output)
    config, card = toy_config(corpus, output, shards_per_language=2), output / "README.md"
    written = card.read_text(encoding="utf-8")
    card.write_text(f"{written}\nThe terms of my own recordings.\n", encoding="utf-8")
    assert build(config, progress=False) == manifest
    assert card.read_text(encoding="utf-8") == f"{written}\nThe terms of my own recordings.\n"
    # The card of another manifest describes another corpus.
    card.write_text("old", encoding="utf-8")
    (output / "manifest.json").unlink()
    build(config, progress=False)
    assert card.read_text(encoding="utf-8") == written
