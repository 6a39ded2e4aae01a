# SPDX-License-Identifier: Apache-2.0
"""A push to the loopback Hub, by the command itself, and what a stranger gets from there."""

import json
import shutil
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from loopback_hub.cards import front_matter, metadata_errors
from loopback_hub.client import push_client
from loopback_hub.repositories import Blob
from warm_python import WarmPython

from mser_llm.hub.data_record import data_record


pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
# The clients read HF_ENDPOINT when they are imported: one process pushes for all tests of this file, as it is told. It
# tries again as often as others, without their waits of half a minute.
CLIENT = """
import json, os, sys, time
time.sleep = lambda seconds: None
from mser_llm.hub.push import push
for line in sys.stdin:
    token, model, repo_id, options = json.loads(line)
    os.environ["HF_TOKEN"], said = token, []
    try:
        answer = {"url": push(model, repo_id, show=said.append, **options)}
    except ValueError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer | {"said": said}), flush=True)
"""


@pytest.fixture(scope="module")
def client(loopback_hub, tmp_path_factory):
    with push_client(CLIENT, loopback_hub, tmp_path_factory.mktemp("home")) as push:
        yield push


def test_a_model_arrives_whole_once_and_answers_a_stranger_as_it_does_here(client, tiny_model_dir, loopback_hub):
    answer = client(tiny_model_dir, "org/whole", verify=True, space=True)
    assert answer["url"] == f"{loopback_hub.url}/org/whole"
    assert any("verified: loaded from org/whole into an empty cache" in line for line in answer["said"])
    repo = loopback_hub.repos["model", "org/whole"]
    code = {path.name for room in ("modeling_mser", "processing_mser") for path in (ROOT / room).glob("*_mser.py")}
    assert {"configuration_mser.py", "pipeline_mser.py", "processing_mser.py"} <= code & set(repo.files)
    assert {"config.json", "model.safetensors", "handler.py", "requirements.txt", "README.md"} <= set(repo.files)
    assert repo.files["handler.py"].data == (ROOT / "hub_cards" / "handler.py").read_bytes()
    assert set(loopback_hub.uploads.values()) == {1}
    # One commit: nobody ever sees half of it.
    assert len(repo.commits) == 2
    card = front_matter(repo.files["README.md"].data.decode())
    assert metadata_errors(card) == [] and card["library_name"] == "transformers"
    for widget in card["widget"]:
        assert repo.files[widget["src"]].data.startswith(b"fLaC")
        assert sum(one["score"] for one in widget["output"]) == pytest.approx(1, abs=1e-3)
    space = loopback_hub.repos["space", "org/whole"]
    assert front_matter(space.files["README.md"].data.decode())["models"] == ["org/whole"]
    assert {"app.py", "requirements.txt"} <= set(space.files)
    commits, uploads = len(repo.commits), loopback_hub.uploads.copy()
    again = client(tiny_model_dir, "org/whole", space=True)
    assert ["are there already" in line for line in again["said"]] == [True, True], again["said"]
    assert (len(repo.commits), loopback_hub.uploads) == (commits, uploads)


def test_the_space_of_a_private_model_needs_a_token_and_that_is_said(client, tiny_model_dir, loopback_hub):
    said = client(tiny_model_dir, "org/private-shown", private=True, space=True)["said"]
    assert f"secret HF_TOKEN at {loopback_hub.url}/spaces/org/private-shown/settings" in said[-1]


def test_an_upload_that_was_cut_is_gone_on_with(client, tiny_model_dir, loopback_hub):
    loopback_hub.objects.clear()
    loopback_hub.uploads.clear()
    # More often than the client's own patience lasts.
    loopback_hub.cut_uploads = 1_000
    answer = client(tiny_model_dir, "org/cut")
    loopback_hub.cut_uploads = 0
    assert "the connection to" in answer["error"] and "run the same command again" in answer["error"]
    repo = loopback_hub.repos["model", "org/cut"]
    assert set(repo.files) == {".gitattributes"}
    assert "url" in client(tiny_model_dir, "org/cut")
    assert "model.safetensors" in repo.files and set(loopback_hub.uploads.values()) == {1}


def test_what_an_earlier_push_left_is_removed(client, tiny_model_dir, loopback_hub):
    client(tiny_model_dir, "org/older")
    repo = loopback_hub.repos["model", "org/older"]
    left = {"model-00001-of-00002.safetensors": True, "forgotten_mser.py": False, "notes.txt": False}
    repo.commit("older", {**repo.files, **{name: Blob(b"old", lfs) for name, lfs in left.items()}})
    client(tiny_model_dir, "org/older")
    assert set(left) & set(repo.files) == {"notes.txt"}


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        ("hf_nobody", "org/x", "does not know the token; log in with hf auth login, or set HF_TOKEN"),
        ("", "org/x", "was given no token; log in with hf auth login, or set HF_TOKEN"),
        ("hf_reader", "org/x", "does not let the token write to org/x"),
        ("hf_stranger", "org/x", "does not let the token write to org/x"),
    ],
)
def test_a_token_that_will_not_do_is_told_in_one_line(client, tiny_model_dir, loopback_hub, token, repo_id, message):
    assert message in client(tiny_model_dir, repo_id, token=token)["error"]
    assert ("model", "org/x") not in loopback_hub.repos


def test_a_repository_that_holds_something_else_is_left_alone(client, tiny_model_dir, loopback_hub):
    client(tiny_model_dir, "org/taken")
    repo = loopback_hub.repos["model", "org/taken"]
    repo.commit("another model", {"config.json": Blob(b'{"model_type": "bert"}', False)})
    commits = len(repo.commits)
    assert "org/taken: exists and holds something else (1 files)" in client(tiny_model_dir, "org/taken")["error"]
    assert "exists and is public" in client(tiny_model_dir, "org/taken", private=True)["error"]
    assert len(repo.commits) == commits
    client(tiny_model_dir, "org/private", private=True)
    assert loopback_hub.repos["model", "org/private"].private


def test_a_model_with_a_record_is_pushed_with_it(client, tiny_model_dir, loopback_hub, tmp_path):
    from processing_mser import label_set

    model = shutil.copytree(tiny_model_dir, tmp_path / "model")
    record = {"data": data_record([], [], label_set("four")), "speakers": ["nemo-1"], "validation": None}
    (model / "train_results.json").write_text(json.dumps(record | {"clips": {"train": 0, "validation": 0}}))
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"corpora": {}, "labels": [], "label_set": "four", "prompt": "v1"}))
    (tmp_path / "predictions.csv").write_text("corpus,speaker\nnemo,nemo-1\n")
    assert "whom the model was trained on" in client(model, "org/leak", results=[str(results)])["error"]
    assert ("model", "org/leak") not in loopback_hub.repos


def test_a_model_that_is_not_there_is_told_before_anything_is_made(client, loopback_hub, tmp_path):
    assert "no such folder" in client(tmp_path / "nowhere", "org/none")["error"]
    assert ("model", "org/none") not in loopback_hub.repos


@pytest.fixture(scope="module")
def cut_off(hub_python):
    """As `hub_python`, with its cache, when nobody answers at the Hub's address."""
    with LoopbackHub() as gone:
        address = {"HF_ENDPOINT": gone.url}
    with WarmPython(hub_python.environment | address) as python:
        yield python


def test_the_command_without_a_network_says_so(cut_off, tiny_model_dir):
    done = cut_off.run(ROOT / "run_mser.py", "push", "--model", tiny_model_dir, "--repo_id", "org/x")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("run-mser: error:")]
    assert f"the connection to {cut_off.environment['HF_ENDPOINT']} failed" in line and "check the network" in line


LOAD = """
import sys, time
from mser_llm.inference.loading import load_model
start = time.monotonic()
try:
    print("loaded", load_model(sys.argv[1], "cpu")[0].config.model_type, end=" ")
except ValueError as error:
    print(error, end=" ")
print("in", time.monotonic() - start)
"""


def test_without_the_hub_a_model_loads_from_the_cache_or_is_told_within_seconds(
    client, cut_off, hub_python, tiny_model_dir, tmp_path
):
    client(tiny_model_dir, "org/cached")
    program = tmp_path / "program.py"
    program.write_text(LOAD)
    assert hub_python.run(program, "org/cached").stdout.startswith("loaded mser in ")
    # The libraries' own patience is minutes: each of ten files is asked for six times.
    for repo_id, expected in (
        ("org/cached", "loaded mser"),
        ("org/other", "org/other: no such folder, not in the cache, and the Hub cannot be reached; check"),
    ):
        said, _, seconds = cut_off.run(program, repo_id).stdout.rpartition(" in ")
        assert said.startswith(expected) and float(seconds) < 60
