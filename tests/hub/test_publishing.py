# SPDX-License-Identifier: Apache-2.0
"""Push a model to the loopback Hub, and load it from there."""

import json
import shutil
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from loopback_hub.cards import front_matter, metadata_errors
from loopback_hub.client import push_client
from loopback_hub.repositories import Blob, Repo
from warm_python import WarmPython

from mser_llm.hub.data_record import data_record
from processing_mser import label_set


pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
# huggingface_hub reads HF_ENDPOINT on import, so one process pushes for all tests here. It retries without the usual
# waits of half a minute.
CLIENT = """
import json, os, sys, time
time.sleep = lambda seconds: None
from mser_llm.hub.push import push
for line in sys.stdin:
    token, model, repo_id, options = json.loads(line)
    os.environ["HF_TOKEN"], shown = token, []
    try:
        response = {"url": push(model, repo_id, show=shown.append, **options)}
    except ValueError as error:
        response = {"error": str(error), "kind": type(error).__name__, **vars(error)}
    print(json.dumps(response | {"shown": shown}), flush=True)
"""


@pytest.fixture(scope="module")
def client(loopback_hub, tmp_path_factory):
    with push_client(CLIENT, loopback_hub, tmp_path_factory.mktemp("home")) as push:
        yield push


def test_push_sends_one_commit_that_verifies_and_repeats_nothing(client, tiny_model_dir, loopback_hub):
    response = client(tiny_model_dir, "org/complete", verify=True, space=True)
    assert response["url"] == f"{loopback_hub.url}/org/complete"
    assert any(line.startswith("verified: ") for line in response["shown"])
    repo = loopback_hub.repos["model", "org/complete"]
    code = {
        path.name for package in ("modeling_mser", "processing_mser") for path in (ROOT / package).glob("*_mser.py")
    }
    assert {"configuration_mser.py", "pipeline_mser.py", "processing_mser.py"} <= code & set(repo.files)
    assert {"config.json", "model.safetensors", "handler.py", "requirements.txt", "README.md"} <= set(repo.files)
    assert repo.files["handler.py"].data == (ROOT / "hub_cards" / "handler.py").read_bytes()
    assert set(loopback_hub.uploads.values()) == {1}
    assert len(repo.commits) == 2  # the Hub's own and ours
    card = front_matter(repo.files["README.md"].data.decode())
    assert metadata_errors(card) == [] and card["library_name"] == "transformers"
    for widget in card["widget"]:
        assert repo.files[widget["src"]].data.startswith(b"fLaC")
        assert sum(one["score"] for one in widget["output"]) == pytest.approx(1, abs=1e-3)
    space = loopback_hub.repos["space", "org/complete"]
    assert front_matter(space.files["README.md"].data.decode())["models"] == ["org/complete"]
    assert {"app.py", "requirements.txt"} <= set(space.files)
    commits, uploads = len(repo.commits), loopback_hub.uploads.copy()
    again = client(tiny_model_dir, "org/complete", space=True)
    assert "url" in again and len(again["shown"]) == 2
    assert (len(repo.commits), loopback_hub.uploads) == (commits, uploads)


def test_push_resumes_after_an_interrupted_upload_and_removes_old_files(client, tiny_model_dir, loopback_hub):
    loopback_hub.objects.clear()
    loopback_hub.uploads.clear()
    loopback_hub.cut_uploads = 1_000  # more often than huggingface_hub retries
    response = client(tiny_model_dir, "org/cut")
    loopback_hub.cut_uploads = 0
    assert (response["kind"], response["source"]) == ("PushError", "org/cut")
    repo = loopback_hub.repos["model", "org/cut"]
    assert set(repo.files) == {".gitattributes"}
    assert "url" in client(tiny_model_dir, "org/cut")
    assert "model.safetensors" in repo.files and set(loopback_hub.uploads.values()) == {1}
    left = {"model-00001-of-00002.safetensors": True, "forgotten_mser.py": False, "notes.txt": False}
    repo.commit("older", {**repo.files, **{name: Blob(b"old", lfs) for name, lfs in left.items()}})
    client(tiny_model_dir, "org/cut")
    assert set(left) & set(repo.files) == {"notes.txt"}


@pytest.mark.parametrize(
    ("token", "fix"),
    [("hf_nobody", "HF_TOKEN"), ("", "HF_TOKEN"), ("hf_reader", "--repo_id"), ("hf_stranger", "--repo_id")],
)
def test_push_without_permission_creates_nothing(client, tiny_model_dir, loopback_hub, token, fix):
    response = client(tiny_model_dir, "org/x", token=token)
    assert (response["kind"], response["source"]) == ("PushError", "org/x") and fix in response["fix"]
    assert ("model", "org/x") not in loopback_hub.repos


def test_push_leaves_other_and_public_repositories_alone(client, tiny_model_dir, loopback_hub):
    repo = loopback_hub.repos["model", "org/taken"] = Repo("model", "org/taken")
    repo.commit("another model", {"config.json": Blob(b'{"model_type": "bert"}', False)})
    commits = len(repo.commits)
    for options in ({}, {"private": True}):
        response = client(tiny_model_dir, "org/taken", **options)
        assert (response["kind"], response["source"]) == ("PushError", "org/taken") and "settings" in response["fix"]
    assert len(repo.commits) == commits
    shown = client(tiny_model_dir, "org/private", private=True, space=True)["shown"]
    assert loopback_hub.repos["model", "org/private"].private
    assert f"HF_TOKEN at {loopback_hub.url}/spaces/org/private/settings" in shown[-1]


def test_push_rejects_results_on_training_speakers_and_missing_models(client, tiny_model_dir, loopback_hub, tmp_path):
    model = shutil.copytree(tiny_model_dir, tmp_path / "model")
    record = {"data": data_record([], [], label_set("four")), "speakers": ["nemo-1"], "validation": None}
    (model / "train_results.json").write_text(json.dumps(record | {"clips": {"train": 0, "validation": 0}}))
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"corpora": {}, "labels": [], "label_set": "four", "prompt": "v1"}))
    (tmp_path / "predictions.csv").write_text("corpus,speaker\nnemo,nemo-1\n")
    assert client(model, "org/none", results=[str(results)])["kind"] == "SpeakerLeakError"
    assert client(tmp_path / "nowhere", "org/none")["kind"] == "ModelNotFoundError"
    assert ("model", "org/none") not in loopback_hub.repos


LOAD = """
import sys, time
from mser_llm.inference.loading import load_model
start = time.monotonic()
try:
    print("loaded", load_model(sys.argv[1], "cpu")[0].config.model_type, end=" ")
except ValueError as error:
    print(type(error).__name__, end=" ")
print("in", time.monotonic() - start)
"""


def test_push_fails_offline_and_cached_models_load(client, hub_python, tiny_model_dir, tmp_path):
    client(tiny_model_dir, "org/cached")
    program = tmp_path / "program.py"
    program.write_text(LOAD)
    assert hub_python.run(program, "org/cached").stdout.startswith("loaded mser in ")
    with LoopbackHub() as gone:
        address = {"HF_ENDPOINT": gone.url}
    # With the cache of `hub_python` and an address without a server.
    with WarmPython(hub_python.environment | address) as offline:
        done = offline.run(ROOT / "run_mser.py", "push", "--model", tiny_model_dir, "--repo_id", "org/x")
        assert done.returncode == 2
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("run-mser: error:")]
        assert gone.url in line
        # The libraries would retry for minutes.
        for repo_id, expected in (("org/cached", "loaded mser"), ("org/other", "ModelNotFoundError")):
            outcome, _, seconds = offline.run(program, repo_id).stdout.rpartition(" in ")
            assert outcome.strip() == expected and float(seconds) < 60
