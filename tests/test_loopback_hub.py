# SPDX-License-Identifier: Apache-2.0
"""The loopback Hub behaves like the real one for calls of the client libraries, errors included."""

import json
import os
import subprocess
import sys

import pytest


CLIENT = """
import json, sys, tempfile
from pathlib import Path
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
)

def rejected(error, call, *args, **options):
    try:
        call(*args, **options)
    except error as found:
        return type(found).__name__ if error is not HfHubHTTPError else found.response.status_code
    return "accepted"

owner, stranger, found = HfApi(token="hf_owner"), HfApi(token="hf_stranger"), {}
found["user"] = owner.whoami()["name"]
owner.create_repo("org/model", private=True)
found["exists"] = rejected(HfHubHTTPError, owner.create_repo, "org/model")
folder = Path(tempfile.mkdtemp())
(folder / "sub").mkdir()
(folder / "config.json").write_text('{"model_type": "mser"}')
(folder / "sub/weights.safetensors").write_bytes(bytes(range(256)) * 4096)
owner.upload_folder(repo_id="org/model", folder_path=folder)
info = owner.model_info("org/model")
found["siblings"] = sorted(one.rfilename for one in info.siblings)
found["private"] = info.private
first = info.sha
owner.upload_file(repo_id="org/model", path_or_fileobj=b"{}", path_in_repo="config.json")
found["old"] = Path(hf_hub_download("org/model", "config.json", revision=first, token="hf_owner")).read_text()
found["new"] = Path(hf_hub_download("org/model", "config.json", token="hf_owner")).read_text()
there = Path(snapshot_download("org/model", token="hf_owner"))
weights = "sub/weights.safetensors"
found["weights"] = (there / weights).read_bytes() == (folder / weights).read_bytes()
with HfFileSystem(token="hf_owner").open("org/model/sub/weights.safetensors", "rb", block_size=1000) as file:
    file.seek(256 * 4096 - 3)
    found["range"] = list(file.read())
found["listed"] = sorted(HfFileSystem(token="hf_owner").ls("org/model", detail=False))
found["hidden"] = rejected(RepositoryNotFoundError, stranger.model_info, "org/model")
found["revision"] = rejected(RevisionNotFoundError, owner.model_info, "org/model", revision="nowhere")
found["entry"] = rejected(EntryNotFoundError, hf_hub_download, "org/model", "nothing.txt", token="hf_owner")
found["token"] = rejected(HfHubHTTPError, HfApi(token="hf_nobody").whoami)
found["foreign"] = rejected(HfHubHTTPError, stranger.create_repo, "org/other")
owner.create_repo("org/asks", repo_type="dataset")
owner.upload_file(repo_id="org/asks", repo_type="dataset", path_or_fileobj=b"a,b", path_in_repo="data.csv")
owner.update_repo_settings("org/asks", repo_type="dataset", gated="auto")
found["gate"] = stranger.dataset_info("org/asks").gated
found["gated"] = rejected(
    GatedRepoError, hf_hub_download, "org/asks", "data.csv", repo_type="dataset", token="hf_stranger"
)
owner.create_repo("org/space", repo_type="space", space_sdk="gradio")
bad = b"---\\nlicense: mine\\n---\\n# A card\\n"
send, space = owner.upload_file, {"repo_id": "org/space", "repo_type": "space"}
found["card"] = rejected(ValueError, send, path_or_fileobj=bad, path_in_repo="README.md", **space)
owner.delete_file("sub/weights.safetensors", "org/model")
found["left"] = sorted(owner.list_repo_files("org/model"))
owner.delete_repo("org/model")
found["gone"] = owner.repo_exists("org/model")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(loopback_hub, tmp_path_factory):
    environment = {**os.environ, **loopback_hub.environment(tmp_path_factory.mktemp("home"))}
    done = subprocess.run([sys.executable, "-c", CLIENT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_hub_returns_uploaded_files_by_revision_and_range(found, loopback_hub):
    assert found["user"] == "owner"
    assert found["siblings"] == [".gitattributes", "config.json", "sub/weights.safetensors"]
    assert (found["old"], found["new"]) == ('{"model_type": "mser"}', "{}")
    assert found["weights"] is True
    assert found["range"] == [253, 254, 255]
    assert found["listed"] == [f"org/model/{name}" for name in (".gitattributes", "config.json", "sub")]
    assert found["left"] == [".gitattributes", "config.json"]
    assert list(loopback_hub.uploads.values()) == [1]
    assert loopback_hub.count_requests("POST", "/api/models/org/model/commit/main") == 3


def test_hub_rejects_requests_like_the_real_one(found, loopback_hub):
    assert found["private"] is True
    assert found["exists"] == 409
    assert found["hidden"] == "RepositoryNotFoundError"
    assert found["revision"] == "RevisionNotFoundError"
    assert found["entry"] == "RemoteEntryNotFoundError"
    assert found["token"] == 401
    assert found["foreign"] == 403
    assert (found["gate"], found["gated"]) == ("auto", "GatedRepoError")
    assert found["card"] == "ValueError"
    assert found["gone"] is False
    assert sorted(loopback_hub.repos) == [("dataset", "org/asks"), ("space", "org/space")]
