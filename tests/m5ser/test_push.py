# SPDX-License-Identifier: Apache-2.0
import os
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


def shards(folder):
    return [file for file in content(folder) if file.startswith("data/")]


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
    commits, uploads = len(repo.commits), loopback_hub.uploads.copy()
    assert "url" in client(folder, "org/whole")
    assert len(repo.commits) == commits and loopback_hub.uploads == uploads


def test_push_publishes_no_local_paths(client, folder, loopback_hub):
    client(folder, "org/quiet")
    repo = loopback_hub.repos["dataset", "org/quiet"]
    recipe = yaml.safe_load(repo.files["config.yaml"].data)
    assert recipe == {"corpora": ["ravdess=PATH"], "translator": "espeak", "output_dir": "PATH"}
    for name in ("README.md", "manifest.json", "config.yaml"):
        assert str(folder.parent).encode() not in repo.files[name].data
        assert b"/home/someone" not in repo.files[name].data


def test_push_names_the_repository_on_an_unedited_card(client, loopback_hub, tmp_path):
    edited = build(tmp_path / "m5ser")
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


@pytest.mark.slow
def test_push_resumes_without_sending_anything_twice(client, loopback_hub, tmp_path):
    folder = write_m5ser(tmp_path / "m5ser", {"fr": corpus_rows("fr", "folder", speakers=2)}, shards=2)
    loopback_hub.objects.clear()
    loopback_hub.uploads.clear()
    # More often than the client retries.
    loopback_hub.cut_uploads = 1_000
    response = client(folder, "org/broken")
    loopback_hub.cut_uploads = 0
    assert loopback_hub.url in response["error"]
    repo = loopback_hub.repos["dataset", "org/broken"]
    assert set(repo.files) == {".gitattributes", "manifest.json", "config.yaml"}
    assert "url" in client(folder, "org/broken")
    assert arrived(repo) == content(folder)
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
    ],
)
def test_push_rejects_unsuitable_tokens(client, folder, loopback_hub, token, repo_id, value):
    client(folder, "org/secret", private=True)
    assert value in client(folder, repo_id, token=token)["error"]
    assert ("dataset", "org/x") not in loopback_hub.repos


def test_push_does_not_write_to_repositories_of_others(client, folder, loopback_hub):
    client(folder, "org/theirs")
    repo = loopback_hub.repos["dataset", "org/theirs"]
    del repo.commits[-1]
    assert "org/theirs" in client(folder, "org/theirs", token="hf_reader")["error"]


@pytest.mark.parametrize(
    ("damage", "source"),
    [
        (lambda folder: (folder / shards(folder)[0]).unlink(), ".parquet"),
        (lambda folder: (folder / shards(folder)[0]).write_bytes(b"PAR1"), ".parquet"),
        (
            lambda folder: (folder / "manifest.json").write_text(
                (folder / "manifest.json").read_text().replace('"rows": ', '"rows": 1')
            ),
            "manifest.json",
        ),
        (lambda folder: (folder / "manifest.json").unlink(), "m5ser"),
        (lambda folder: next(folder.glob("rejects/de-*")).write_bytes(b"PAR1"), ".parquet"),
        (lambda folder: next(folder.glob("rejects/de-*")).unlink(), ".parquet"),
        (lambda folder: (folder / "config.yaml").unlink(), "config.yaml"),
        (lambda folder: (folder / "config.yaml").write_text("corpora: 3"), "config.yaml"),
    ],
)
def test_push_rejects_a_folder_that_differs_from_its_manifest(client, loopback_hub, tmp_path, damage, source):
    damaged = build(tmp_path / "m5ser")
    damage(damaged)
    assert client(damaged, "org/damaged")["source"].endswith(source)
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
    public = yaml.safe_load(public_recipe(tmp_path))
    assert public["corpora"] == ["folder=PATH", "meld=PATH"] and public["output_dir"] == "PATH"
    options = public["translator_options"]
    assert options["env_command"] == "source PATH && export HF_HOME='PATH'"
    assert options["args"] == ["--cache", "PATH", "--cache=PATH", "--rate=1/2"]
    assert {name: options[name] for name in ("model", "url")} == {
        name: recipe["translator_options"][name] for name in ("model", "url")
    }


def test_push_needs_a_namespace(client, folder, loopback_hub):
    assert client(folder, "noname")["source"]
    assert not [name for _, name in loopback_hub.repos if name.endswith("noname")]


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
