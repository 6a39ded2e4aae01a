# SPDX-License-Identifier: Apache-2.0
"""Load a built corpus from its folder and from the Hub, streaming or not, without torchcodec."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from m5ser_folder import corpus_rows, write_m5ser

from mser_llm.m5ser.card import write_card


ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "fr", "it")
# In another process, because the clients read HF_ENDPOINT on import, and in a folder without this project.
CLIENT = """
import hashlib, io, json, sys
sys.modules["torchcodec"] = None
import soundfile
from datasets import Audio, load_dataset
place, configs, sizes = sys.argv[1], sys.argv[2].split(","), {}
for config in configs:
    for streaming in (False, True):
        dataset = load_dataset(place, config, split="train", streaming=streaming)
        assert dataset.features["audio"] == Audio(sampling_rate=16000, decode=False), dataset.features
        rows = list(dataset)
        sound, rate = soundfile.read(io.BytesIO(rows[0]["audio"]["bytes"]))
        assert rate == 16000 and sound.any()
        key = "".join(sorted(row["id"] + hashlib.sha256(row["audio"]["bytes"]).hexdigest() for row in rows))
        sizes.setdefault(config, []).append([len(rows), hashlib.sha256(key.encode()).hexdigest()])
print(json.dumps(sizes))
"""
PUSH = "import sys; from mser_llm.m5ser.push import push; push(sys.argv[1], sys.argv[2], private=True)"


def run(code, *arguments, environment, cwd):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def rows():
    rows = {language: corpus_rows(language, "folder", speakers=1) for language in LANGUAGES}
    # A shard whose speakers are all null next to one with speakers, and an empty shard.
    for clip in rows["fr"][::2]:
        clip["speaker"] = None
    rows["it"] = rows["it"][:1]
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory, rows):
    folder = write_m5ser(tmp_path_factory.mktemp("built") / "m5ser", rows)
    write_card(folder)
    return folder


def loaded(place, configs, environment, cwd):
    found = json.loads(run(CLIENT, place, ",".join(configs), environment=environment, cwd=cwd))
    for config, (plain, streamed) in found.items():
        assert plain == streamed, config
    return {config: count for config, ((count, _), _) in found.items()}


def test_every_configuration_loads_from_the_folder(folder, rows, tmp_path):
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    counts = {language: len(rows[language]) for language in LANGUAGES}
    found = loaded(folder, ["default", *LANGUAGES], environment, tmp_path)
    assert found == {"default": sum(counts.values()), **counts}


@pytest.mark.slow
def test_private_data_set_loads_from_the_hub_for_its_owner(folder, rows, loopback_hub, tmp_path):
    owner = {**os.environ, **loopback_hub.environment(tmp_path / "owner", token="hf_owner"), "PYTHONPATH": str(ROOT)}
    run(PUSH, folder, "org/m5ser", environment=owner, cwd=tmp_path)
    owner.pop("PYTHONPATH")
    found = loaded("org/m5ser", ["fr", "it", "default"], owner, tmp_path)
    assert found == {"fr": 7, "it": 1, "default": sum(map(len, rows.values()))}
    # Streaming one language fetches only its files, in parts.
    assert loopback_hub.count_requests("GET", r"/datasets/org/m5ser/resolve/.*/data/fr/") > 0
    stranger = {**os.environ, **loopback_hub.environment(tmp_path / "stranger", token="hf_stranger")}
    with pytest.raises(AssertionError, match="org/m5ser"):
        loaded("org/m5ser", ["fr"], stranger, tmp_path)
