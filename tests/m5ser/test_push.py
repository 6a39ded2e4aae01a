# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from loopback_hub import LoopbackHub
from loopback_hub.client import push_client
from m5ser_folder import corpus_rows, write_m5ser

from mser_llm.m5ser.card import write_card
from mser_llm.m5ser.push import public_recipe


ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "fr", "de")
# The clients read HF_ENDPOINT on import, so one process pushes for all tests of this file.
CLIENT = """
import json, os, sys
from mser_llm.m5ser.push import push
for line in sys.stdin:
    token, folder, repo_id, options = json.loads(line)
    os.environ["HF_TOKEN"] = token
    try:
        response = {"url": push(folder, repo_id, **options)}
    except ValueError as error:
        response = {"error": str(error), "source": getattr(error, "source", None)}
    print(json.dumps(response), flush=True)
"""


@pytest.fixture(scope="module")
def client(loopback_hub, tmp_path_factory):
    with push_client(CLIENT, loopback_hub, tmp_path_factory.mktemp("home")) as push:
        yield push


def build(folder, corpus="folder", **config):
    write_m5ser(folder, {language: corpus_rows(language, corpus) for language in LANGUAGES}, **config)
    write_card(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built") / "m5ser")


def content(folder):
    """Return every file for the Hub, except the two that are changed during the upload."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    return {name: file.read_bytes() for name, file in files.items() if name not in ("config.yaml", "README.md")}


def arrived(repo):
    names = set(repo.files) - {".gitattributes", "config.yaml", "README.md"}
    return {name: repo.files[name].data for name in names}


def test_push_sends_everything_once_and_nothing_the_second_time(client, folder, loopback_hub):
    loopback_hub.uploads.clear()
    assert client(folder, "org/whole") == {"url": f"{loopback_hub.url}/datasets/org/whole"}
    repo = loopback_hub.repos["dataset", "org/whole"]
    assert arrived(repo) == content(folder)
    assert not repo.private and not repo.gated
    assert repo.files["data/fr/train-00000-of-00002.parquet"].lfs
    assert loopback_hub.uploads and set(loopback_hub.uploads.values()) == {1}
    # The manifest comes first and the card last.
    first, *_, last = (set(commit.files) for commit in repo.commits[1:])
    assert first == {".gitattributes", "manifest.json", "config.yaml"}
    assert "README.md" in last and all("README.md" not in commit.files for commit in repo.commits[:-1])
    # No local paths are published.
    recipe = yaml.safe_load(repo.files["config.yaml"].data)
    assert recipe == {"corpora": ["ravdess=PATH"], "translator": "espeak", "output_dir": "PATH"}
    for name in ("README.md", "manifest.json", "config.yaml"):
        assert str(folder.parent).encode() not in repo.files[name].data
        assert b"/home/someone" not in repo.files[name].data
    commits, uploads = len(repo.commits), loopback_hub.uploads.copy()
    assert "url" in client(folder, "org/whole")
    assert len(repo.commits) == commits and loopback_hub.uploads == uploads


def test_push_names_the_repository_on_an_unedited_card(client, folder, loopback_hub, tmp_path):
    edited = shutil.copytree(folder, tmp_path / "m5ser")
    client(edited, "org/card")
    repo = loopback_hub.repos["dataset", "org/card"]
    assert b'load_dataset("org/card", "en", split="train")' in repo.files["README.md"].data
    (edited / "README.md").write_text((edited / "README.md").read_text() + "\nA word from me.\n")
    client(edited, "org/card")
    assert repo.files["README.md"].data == (edited / "README.md").read_bytes()


def test_push_retries_an_interrupted_upload(client, folder, loopback_hub):
    loopback_hub.objects.clear()
    loopback_hub.uploads.clear()
    loopback_hub.cut_uploads = 1
    assert "url" in client(folder, "org/cut")
    assert arrived(loopback_hub.repos["dataset", "org/cut"]) == content(folder)
    assert set(loopback_hub.uploads.values()) == {1}


def test_push_skips_files_of_an_interrupted_commit(client, folder, loopback_hub):
    client(folder, "org/half")
    repo = loopback_hub.repos["dataset", "org/half"]
    # As if the connection had gone after the second commit, when half of the shards of the third had arrived.
    del repo.commits[2:]
    kept = {repo.commits[-1].files[name].sha256 for name in repo.commits[-1].files}
    sent = list(loopback_hub.objects)[::2]
    loopback_hub.objects = {oid: loopback_hub.objects[oid] for oid in sent}
    loopback_hub.uploads.clear()
    assert "url" in client(folder, "org/half")
    assert arrived(repo) == content(folder)
    assert set(loopback_hub.uploads) == {repo.files[name].sha256 for name in repo.files if repo.files[name].lfs} - {
        *sent
    } and kept.isdisjoint(loopback_hub.uploads)
    assert set(loopback_hub.uploads.values()) == {1}


def test_private_push_needs_a_private_repository(client, folder, loopback_hub):
    assert "url" in client(folder, "org/private", private=True)
    assert loopback_hub.repos["dataset", "org/private"].private
    client(folder, "org/open")
    response = client(folder, "org/open", private=True)
    assert response["source"] == "org/open"
    assert not loopback_hub.repos["dataset", "org/open"].private


def test_gated_repository_is_gated_before_the_first_commit(client, folder, loopback_hub):
    assert "url" in client(folder, "org/gated", gated=True)
    repo = loopback_hub.repos["dataset", "org/gated"]
    assert repo.gated == "auto" and not repo.private
    order = list(loopback_hub.requests)
    settings = order.index(("PUT", "/api/datasets/org/gated/settings"))
    assert settings < order.index(("POST", "/api/datasets/org/gated/commit/main"))
    assert client(folder, "org/both", gated=True, private=True)["source"] == "--private, --gated"


def test_push_rejects_sources_without_redistribution(client, loopback_hub, tmp_path):
    bound = build(tmp_path / "m5ser", corpus="iemocap")
    for options in ({}, {"gated": True}):
        response = client(bound, "org/bound", **options)
        assert response["source"] == str(bound) and "iemocap" in response["error"]
    assert ("dataset", "org/bound") not in loopback_hub.repos
    assert "url" in client(bound, "org/bound", private=True)
    assert "url" in client(bound, "org/recipe", recipe_only=True)


def test_recipe_push_sends_no_audio(client, folder, loopback_hub):
    assert "url" in client(folder, "org/recipe-alone", recipe_only=True)
    repo = loopback_hub.repos["dataset", "org/recipe-alone"]
    assert set(repo.files) == {".gitattributes", "manifest.json", "config.yaml", "README.md"}
    card = repo.files["README.md"].data.decode()
    assert "configs:" not in card.split("---")[1] and "load_dataset" not in card
    # The audio may follow a recipe, but not the other way round.
    assert "url" in client(folder, "org/recipe-alone")
    assert arrived(repo) == content(folder)
    assert client(folder, "org/recipe-alone", recipe_only=True)["source"] == "org/recipe-alone"


def test_push_leaves_another_repository_alone(client, folder, loopback_hub, tmp_path):
    other = build(tmp_path / "other", corpus="another")
    assert "url" in client(folder, "org/taken")
    before = loopback_hub.repos["dataset", "org/taken"].commits[:]
    response = client(other, "org/taken", private=False, recipe_only=True)
    assert response["source"] == "org/taken"
    assert loopback_hub.repos["dataset", "org/taken"].commits == before


@pytest.mark.parametrize(
    ("token", "repo_id", "value"),
    [
        ("hf_nobody", "org/x", "hf auth login"),
        ("", "org/x", "hf auth login"),
        ("hf_reader", "org/x", "org/x"),
        ("hf_stranger", "org/x", "org/x"),
        ("hf_stranger", "org/secret", "org/secret"),
        ("hf_owner", "a/b/c", "a/b/c"),
        ("hf_owner", "noname", "noname"),
    ],
)
def test_push_rejects_unsuitable_tokens_and_names(client, folder, loopback_hub, token, repo_id, value):
    client(folder, "org/secret", private=True)
    assert value in client(folder, repo_id, token=token)["error"]
    assert not {("dataset", "org/x"), ("dataset", "noname")} & {*loopback_hub.repos}


def test_push_does_not_write_to_repositories_of_others(client, folder, loopback_hub):
    client(folder, "org/theirs")
    del loopback_hub.repos["dataset", "org/theirs"].commits[-1]
    assert "org/theirs" in client(folder, "org/theirs", token="hf_reader")["error"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data/fr/train-00000-of-00002.parquet", None),
        ("data/fr/train-00000-of-00002.parquet", b"PAR1"),
        ("manifest.json", None),
        ("manifest.json", lambda before: before.replace(b'"rows": ', b'"rows": 1')),
        ("rejects/de-00000-of-00002.parquet", None),
        ("rejects/de-00000-of-00002.parquet", b"PAR1"),
        ("config.yaml", None),
        ("config.yaml", b"corpora: 3"),
    ],
)
def test_push_rejects_a_folder_that_differs_from_its_manifest(client, folder, loopback_hub, tmp_path, file, content):
    damaged = shutil.copytree(folder, tmp_path / "m5ser") / file
    before = damaged.read_bytes()
    damaged.unlink()
    if content is not None:
        damaged.write_bytes(content if isinstance(content, bytes) else content(before))
    source = client(tmp_path / "m5ser", "org/damaged")["source"]
    # A missing manifest is a fault of the folder.
    assert source == str(tmp_path / "m5ser" if (file, content) == ("manifest.json", None) else damaged)
    assert ("dataset", "org/damaged") not in loopback_hub.repos


def test_public_recipe_replaces_paths_everywhere(tmp_path):
    recipe = {
        "corpora": ["folder=/home/jane/a=b/my clips", "meld=relative"],
        "output_dir": "runs/m5ser",
        "translator_options": {
            "env_command": "source /home/jane/venv/bin/activate && export HF_HOME='/data/hf'",
            "args": ["--cache", "~/cache", "--cache=/home/jane/c", "--rate=1/2"],
            "model": "facebook/seamless-m4t-v2-large",
            "url": "https://example.org/a/b",
        },
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(recipe))
    assert yaml.safe_load(public_recipe(tmp_path)) == {
        "corpora": ["folder=PATH", "meld=PATH"],
        "output_dir": "PATH",
        "translator_options": recipe["translator_options"]
        | {
            "env_command": "source PATH && export HF_HOME='PATH'",
            "args": ["--cache", "PATH", "--cache=PATH", "--rate=1/2"],
        },
    }


def test_push_rejects_an_empty_corpus(client, loopback_hub, tmp_path):
    write_m5ser(tmp_path / "m5ser", {"fr": []})
    write_card(tmp_path / "m5ser")
    assert client(tmp_path / "m5ser", "org/empty")["source"] == str(tmp_path / "m5ser")
    assert ("dataset", "org/empty") not in loopback_hub.repos
    assert client(tmp_path / "m5ser", "org/empty", recipe_only=True)["url"].endswith("/org/empty")


@pytest.mark.slow
def test_push_command_without_a_network_is_an_error(folder, tmp_path):
    with LoopbackHub() as gone:
        environment = {**os.environ, **gone.environment(tmp_path, token="hf_owner"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "run_mser.py"), "m5ser", "push", str(folder), "--repo_id", "org/m5ser"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("run-mser: error:")]
    assert gone.url in line
