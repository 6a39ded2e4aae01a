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
# The clients read HF_ENDPOINT when they are imported: one process pushes for all tests of this file, as it is told.
CLIENT = """
import json, os, sys
from mser_llm.m5ser.push import push
for line in sys.stdin:
    token, folder, repo_id, options = json.loads(line)
    os.environ["HF_TOKEN"] = token
    try:
        answer = {"url": push(folder, repo_id, **options)}
    except ValueError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
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
    """Every file that belongs on the Hub, but for the two that are changed on the way."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    return {name: file.read_bytes() for name, file in files.items() if name not in ("config.yaml", "README.md")}


def arrived(repo):
    names = set(repo.files) - {".gitattributes", "config.yaml", "README.md"}
    return {name: repo.files[name].data for name in names}


def shards(folder):
    return [file for file in content(folder) if file.startswith("data/")]


def test_everything_arrives_once_and_a_second_push_sends_nothing(client, folder, loopback_hub):
    loopback_hub.uploads.clear()
    assert client(folder, "org/whole") == {"url": f"{loopback_hub.url}/datasets/org/whole"}
    repo = loopback_hub.repos["dataset", "org/whole"]
    assert arrived(repo) == content(folder)
    assert not repo.private and not repo.gated
    assert repo.files["data/fr/train-00000-of-00002.parquet"].lfs
    assert loopback_hub.uploads and set(loopback_hub.uploads.values()) == {1}
    # The manifest says first what the repository is going to be, and the card appears last.
    first, *_, last = (set(commit.files) for commit in repo.commits[1:])
    assert first == {".gitattributes", "manifest.json", "config.yaml"}
    assert "README.md" in last and all("README.md" not in commit.files for commit in repo.commits[:-1])
    commits, uploads = len(repo.commits), loopback_hub.uploads.copy()
    assert "url" in client(folder, "org/whole")
    assert len(repo.commits) == commits and loopback_hub.uploads == uploads


def test_nothing_of_this_machine_is_published(client, folder, loopback_hub):
    client(folder, "org/quiet")
    repo = loopback_hub.repos["dataset", "org/quiet"]
    recipe = yaml.safe_load(repo.files["config.yaml"].data)
    assert recipe == {"corpora": ["ravdess=PATH"], "translator": "espeak", "output_dir": "PATH"}
    for name in ("README.md", "manifest.json", "config.yaml"):
        assert str(folder.parent).encode() not in repo.files[name].data
        assert b"/home/someone" not in repo.files[name].data


def test_the_card_names_the_repository_unless_somebody_has_edited_it(client, loopback_hub, tmp_path):
    edited = build(tmp_path / "m5ser")
    client(edited, "org/card")
    repo = loopback_hub.repos["dataset", "org/card"]
    assert b'load_dataset("org/card", "en", split="train")' in repo.files["README.md"].data
    (edited / "README.md").write_text((edited / "README.md").read_text() + "\nA word from me.\n")
    client(edited, "org/card")
    assert repo.files["README.md"].data == (edited / "README.md").read_bytes()


def test_an_upload_that_the_server_cuts_once_is_sent_again(client, folder, loopback_hub):
    loopback_hub.objects.clear()
    loopback_hub.uploads.clear()
    loopback_hub.cut_uploads = 1
    assert "url" in client(folder, "org/cut")
    assert arrived(loopback_hub.repos["dataset", "org/cut"]) == content(folder)
    assert set(loopback_hub.uploads.values()) == {1}


@pytest.mark.slow
def test_a_push_that_broke_off_is_resumed_and_nothing_is_sent_twice(client, loopback_hub, tmp_path):
    folder = write_m5ser(tmp_path / "m5ser", {"fr": corpus_rows("fr", "folder", speakers=2)}, shards=2)
    loopback_hub.objects.clear()
    loopback_hub.uploads.clear()
    # More often than the client's own patience lasts.
    loopback_hub.cut_uploads = 1_000
    answer = client(folder, "org/broken")
    loopback_hub.cut_uploads = 0
    assert "the connection to" in answer["error"] and "run the same command again" in answer["error"]
    repo = loopback_hub.repos["dataset", "org/broken"]
    assert set(repo.files) == {".gitattributes", "manifest.json", "config.yaml"}
    assert "url" in client(folder, "org/broken")
    assert arrived(repo) == content(folder)
    assert set(loopback_hub.uploads.values()) == {1}


def test_what_arrived_before_a_break_is_not_sent_again(client, folder, loopback_hub):
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


def test_private_is_private(client, folder, loopback_hub):
    assert "url" in client(folder, "org/private", private=True)
    assert loopback_hub.repos["dataset", "org/private"].private
    client(folder, "org/open")
    answer = client(folder, "org/open", private=True)
    assert "org/open: exists and is public; make it private at" in answer["error"]
    assert not loopback_hub.repos["dataset", "org/open"].private


def test_gated_is_gated_before_anything_is_sent(client, folder, loopback_hub):
    assert "url" in client(folder, "org/gated", gated=True)
    repo = loopback_hub.repos["dataset", "org/gated"]
    assert repo.gated == "auto" and not repo.private
    order = list(loopback_hub.requests)
    settings = order.index(("PUT", "/api/datasets/org/gated/settings"))
    assert settings < order.index(("POST", "/api/datasets/org/gated/commit/main"))
    assert "exclude each other" in client(folder, "org/both", gated=True, private=True)["error"]


def test_a_source_that_may_not_be_passed_on_is_refused_by_name(client, loopback_hub, tmp_path):
    bound = build(tmp_path / "m5ser", corpus="iemocap")
    for options in ({}, {"gated": True}):
        answer = client(bound, "org/bound", **options)
        assert "iemocap" in answer["error"] and "--private" in answer["error"] and "--recipe_only" in answer["error"]
    assert ("dataset", "org/bound") not in loopback_hub.repos
    assert "url" in client(bound, "org/bound", private=True)
    assert "url" in client(bound, "org/recipe", recipe_only=True)


def test_a_recipe_holds_no_audio(client, folder, loopback_hub):
    assert "url" in client(folder, "org/recipe-alone", recipe_only=True)
    repo = loopback_hub.repos["dataset", "org/recipe-alone"]
    assert set(repo.files) == {".gitattributes", "manifest.json", "config.yaml", "README.md"}
    card = repo.files["README.md"].data.decode()
    assert "configs:" not in card.split("---")[1] and "load_dataset" not in card
    # The audio may follow, but a recipe never comes to lie over audio.
    assert "url" in client(folder, "org/recipe-alone")
    assert arrived(repo) == content(folder)
    assert "contains the audio already" in client(folder, "org/recipe-alone", recipe_only=True)["error"]


def test_a_repository_that_holds_something_else_is_left_alone(client, folder, loopback_hub, tmp_path):
    other = build(tmp_path / "other", corpus="another")
    assert "url" in client(folder, "org/taken")
    before = loopback_hub.repos["dataset", "org/taken"].commits[:]
    answer = client(other, "org/taken", private=False, recipe_only=True)
    assert "org/taken: exists and contains something else" in answer["error"]
    assert loopback_hub.repos["dataset", "org/taken"].commits == before


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        ("hf_nobody", "org/x", "rejects the token; log in with hf auth login, or set HF_TOKEN"),
        ("", "org/x", "needs a token; log in with hf auth login, or set HF_TOKEN"),
        ("hf_reader", "org/x", "does not let the token write to org/x"),
        ("hf_stranger", "org/x", "does not let the token write to org/x"),
        ("hf_stranger", "org/secret", "does not let the token write to org/secret"),
        ("hf_owner", "a/b/c", "Repo id must"),
    ],
)
def test_a_token_that_will_not_do_is_told_in_one_line(client, folder, loopback_hub, token, repo_id, message):
    client(folder, "org/secret", private=True)
    assert message in client(folder, repo_id, token=token)["error"]
    assert ("dataset", "org/x") not in loopback_hub.repos


def test_a_public_repository_of_others_is_not_written_to(client, folder, loopback_hub):
    client(folder, "org/theirs")
    repo = loopback_hub.repos["dataset", "org/theirs"]
    del repo.commits[-1]
    assert "does not let the token write to org/theirs" in client(folder, "org/theirs", token="hf_reader")["error"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / shards(folder)[0]).unlink(), "although the manifest lists it"),
        (lambda folder: (folder / shards(folder)[0]).write_bytes(b"PAR1"), "is not the file of the manifest"),
        (
            lambda folder: (folder / "manifest.json").write_text(
                (folder / "manifest.json").read_text().replace('"rows": ', '"rows": 1')
            ),
            "was changed after the build",
        ),
        (lambda folder: (folder / "manifest.json").unlink(), "no manifest.json"),
        (lambda folder: next(folder.glob("rejects/de-*")).write_bytes(b"PAR1"), "parquet: is not the file of the man"),
        (
            lambda folder: next(folder.glob("rejects/de-*")).unlink(),
            "parquet: is not the file of the manifest; delete",
        ),
        (lambda folder: (folder / "config.yaml").unlink(), "config.yaml: is not there; run the build again"),
        (lambda folder: (folder / "config.yaml").write_text("corpora: 3"), "config.yaml: is damaged; run the build"),
    ],
)
def test_a_folder_that_is_not_what_its_manifest_says_is_not_sent(client, loopback_hub, tmp_path, damage, message):
    damaged = build(tmp_path / "m5ser")
    damage(damaged)
    assert message in client(damaged, "org/damaged")["error"]
    assert ("dataset", "org/damaged") not in loopback_hub.repos


def test_places_are_left_out_wherever_they_stand(tmp_path):
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
    told = yaml.safe_load(public_recipe(tmp_path))
    assert told["corpora"] == ["folder=PATH", "meld=PATH"] and told["output_dir"] == "PATH"
    options = told["translator_options"]
    assert options["env_command"] == "source PATH && export HF_HOME='PATH'"
    assert options["args"] == ["--cache", "PATH", "--cache=PATH", "--rate=1/2"]
    assert {name: options[name] for name in ("model", "url")} == {
        name: recipe["translator_options"][name] for name in ("model", "url")
    }


def test_a_name_without_a_namespace_makes_nothing(client, folder, loopback_hub):
    assert (
        "noname: has no namespace; pass --repo_id NAMESPACE/NAME, such as me/noname"
        in client(folder, "noname")["error"]
    )
    assert not [name for _, name in loopback_hub.repos if name.endswith("noname")]


def test_a_corpus_of_which_every_clip_was_rejected_is_not_sent(client, loopback_hub, tmp_path):
    write_m5ser(tmp_path / "m5ser", {"fr": []})
    write_card(tmp_path / "m5ser")
    assert "contains no clip" in client(tmp_path / "m5ser", "org/empty")["error"]
    assert ("dataset", "org/empty") not in loopback_hub.repos
    assert client(tmp_path / "m5ser", "org/empty", recipe_only=True)["url"].endswith("/org/empty")


@pytest.mark.slow
def test_the_command_without_a_network_says_so(folder, tmp_path):
    with LoopbackHub() as gone:
        environment = {**os.environ, **gone.environment(tmp_path, token="hf_owner"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "run_mser.py"), "m5ser", "push", str(folder), "--repo_id", "org/m5ser"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("run-mser: error:")]
    assert f"the connection to {gone.url} failed" in line and "check the network" in line
