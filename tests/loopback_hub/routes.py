# SPDX-License-Identifier: Apache-2.0
"""Routes of the loopback Hub, one function per request of the client libraries."""

import base64
import hashlib
import json
import re
from pathlib import Path
from urllib.parse import parse_qs

import yaml

from .cards import front_matter, metadata_errors
from .repositories import DATE, LFS_BYTES, LFS_SUFFIXES, Blob, Repo
from .server import KIND, NAME, Handler, HubError, route


@route("GET", "/api/whoami-v2")
def _whoami(self: Handler) -> None:
    token = self.token()
    if token is None:
        raise HubError(401, "Invalid username or password.")
    orgs = [{"name": name, "type": "org"} for name in token.namespaces if name != token.user]
    role = {"displayName": "loopback", "role": "write" if token.write else "read"}
    self.respond({"type": "user", "name": token.user, "orgs": orgs, "auth": {"accessToken": role}})


@route("POST", "/api/repos/create")
def _create(self: Handler) -> None:
    request, token = self.json(), self.token()
    if token is None:
        raise HubError(401, "Invalid username or password.")
    namespace = request.get("organization") or token.user
    kind, name = request.get("type") or "model", f"{namespace}/{request['name']}"
    if namespace not in token.namespaces or not token.write:
        raise HubError(403, f"You don't have the rights to create a {kind} under the namespace {namespace!r}")
    url = f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"
    if (kind, name) in self.hub.repos:
        self.respond({"error": f"You already created this {kind} repo", "url": url}, 409)
        return
    private = request.get("private") or request.get("visibility") == "private"
    repo = self.hub.repos[kind, name] = Repo(kind, name, private=bool(private))
    attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
    repo.commit("initial commit", {".gitattributes": Blob(attributes.encode(), lfs=False)})
    self.respond({"url": url, "name": name, "id": name})


@route("PUT", f"/api/{KIND}/{NAME}/settings")
def _settings(self: Handler, kind: str, name: str) -> None:
    repo, request = self.repo(kind, name, write=True), self.json()
    repo.gated = request.get("gated", repo.gated)
    if "visibility" in request or "private" in request:
        repo.private = request.get("private", request.get("visibility") == "private")
    self.respond({"private": repo.private, "gated": repo.gated})


@route("GET", f"/api/{KIND}/{NAME}/auth-check")
def _auth_check(self: Handler, kind: str, name: str) -> None:
    self.repo(kind, name, content=True)
    self.respond({})


@route("POST", "/api/validate-yaml")
def _validate(self: Handler) -> None:
    try:
        metadata = front_matter(self.json()["content"])
        errors = [] if metadata is None else metadata_errors(metadata)
    except yaml.YAMLError as error:
        metadata, errors = {}, [f"YAML Metadata Error: {error}"]
    warnings = ["empty or missing yaml metadata in repo card"] if metadata is None else []
    messages = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warnings]}
    self.respond(messages, 400 if errors else 200)


@route("POST", f"/api/{KIND}/{NAME}/preupload/(?P<revision>.+)")
def _preupload(self: Handler, kind: str, name: str, revision: str) -> None:
    files = self.at(self.repo(kind, name, write=True), revision).files
    modes = []
    for file in self.json()["files"]:
        path, old = file["path"], files.get(file["path"])
        lfs = path.endswith(LFS_SUFFIXES) or file["size"] >= LFS_BYTES
        mode = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
        modes.append(mode | ({"oid": old.etag} if old else {}))
    self.respond({"files": modes})


@route("POST", rf"/(?:(?P<prefix>dataset|space)s/)?{NAME}\.git/info/lfs/objects/batch")
def _batch(self: Handler, prefix: str | None, name: str) -> None:
    self.repo(prefix or "model", name, write=True)
    objects = []
    for request in self.json()["objects"]:
        place = f"{self.hub.url}/lfs/{prefix or 'model'}/{name}/{request['oid']}"
        actions = {"upload": {"href": place}, "verify": {"href": f"{place}/verify"}}
        objects.append(request | ({} if request["oid"] in self.hub.objects else {"actions": actions}))
    self.respond({"transfer": "basic", "objects": objects})


@route("PUT", "/lfs/(?P<kind>[a-z]+)/(?P<name>.+)/(?P<oid>[0-9a-f]{64})")
def _upload(self: Handler, kind: str, name: str, oid: str) -> None:
    with self.hub.lock:
        cut = self.hub.cut_uploads > 0
        self.hub.cut_uploads -= cut
    data = self.body(half=cut)
    if cut:
        self.close_connection = True
        self.connection.close()
        return
    if hashlib.sha256(data).hexdigest() != oid:
        raise HubError(400, "the content does not match its SHA-256")
    with self.hub.lock:
        self.hub.objects[oid] = data
        self.hub.uploads[oid] += 1
    self.respond(b"")


@route("POST", "/lfs/(?P<kind>[a-z]+)/(?P<name>.+)/(?P<oid>[0-9a-f]{64})/verify")
def _verify(self: Handler, kind: str, name: str, oid: str) -> None:
    self.repo(kind, name, write=True)
    if len(self.hub.objects.get(oid, b"")) != self.json()["size"]:
        raise HubError(404, "not uploaded")
    self.respond({})


@route("POST", f"/api/{KIND}/{NAME}/commit/(?P<revision>.+)")
def _commit(self: Handler, kind: str, name: str, revision: str) -> None:
    repo = self.repo(kind, name, write=True)
    parent = self.at(repo, revision)
    files, title = dict(parent.files), ""
    for line in self.body().splitlines():
        key, value = (item := json.loads(line))["key"], item["value"]
        if key == "header":
            title = value["summary"]
            if value.get("parentCommit", parent.oid) != parent.oid:
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
        elif key == "file":
            files[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
        elif key == "lfsFile":
            if value["oid"] not in self.hub.objects:
                raise HubError(400, f"{value['path']}: its content was never uploaded")
            files[value["path"]] = Blob(self.hub.objects[value["oid"]], lfs=True)
        elif key in ("deletedFile", "deletedFolder"):
            gone = [p for p in files if p == value["path"] or p.startswith(value["path"].rstrip("/") + "/")]
            if not gone:
                raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
            for path in gone:
                del files[path]
    oid = repo.commit(title, files).oid
    self.respond({"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid, "success": True})


@route("GET", f"/api/{KIND}/{NAME}(?:/revision/(?P<revision>.+))?")
def _info(self: Handler, kind: str, name: str, revision: str | None) -> None:
    repo = self.repo(kind, name)
    commit = self.at(repo, revision or "main")
    card = commit.files.get("README.md")
    metadata = (front_matter(card.data.decode()) if card else None) or {}
    known = {
        "id": name,
        "modelId": name,
        "author": repo.namespace,
        "sha": commit.oid,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "createdAt": DATE,
        "lastModified": DATE,
        "downloads": 0,
        "likes": 0,
        "tags": metadata.get("tags", []),
        "cardData": metadata,
        "library_name": metadata.get("library_name"),
        "pipeline_tag": metadata.get("pipeline_tag"),
        "siblings": [{"rfilename": path} for path in commit.files],
    }
    config = commit.files.get("config.json")
    self.respond(known | ({"config": json.loads(config.data)} if config and kind == "model" else {}))


@route("GET", f"/api/{KIND}/{NAME}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
def _tree(self: Handler, kind: str, name: str, revision: str, folder: str | None) -> None:
    commit = self.at(self.repo(kind, name), revision)
    top = f"{folder}/" if folder else ""
    inside = {path: blob for path, blob in commit.files.items() if path.startswith(top)}
    if folder and not inside:
        raise HubError(404, f"{folder} does not exist", "EntryNotFound")
    deep = self.query.get("recursive", "").lower() in ("true", "1")
    parents = {parent.as_posix() for path in inside for parent in Path(path).parents} - {".", (folder or ".")}
    entries = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(parents)]
    entries += [blob.entry(path) for path, blob in sorted(inside.items())]
    entries = [e for e in entries if e["path"].startswith(top) and (deep or "/" not in e["path"][len(top) :])]
    last = {"lastCommit": {"id": commit.oid, "title": commit.title, "date": DATE}}
    self.respond([entry | (last if "expand" in self.query else {}) for entry in entries])


@route("POST", f"/api/{KIND}/{NAME}/paths-info/(?P<revision>.+)")
def _paths_info(self: Handler, kind: str, name: str, revision: str) -> None:
    files = self.at(self.repo(kind, name), revision).files
    body = self.body().decode()
    paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
    folders = {parent.as_posix() for path in files for parent in Path(path).parents}
    entries = [files[path].entry(path) for path in paths if path in files]
    self.respond(
        entries + [{"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in paths if p in folders]
    )


@route("GET", f"/api/{KIND}/{NAME}/refs")
def _refs(self: Handler, kind: str, name: str) -> None:
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": self.repo(kind, name).commits[-1].oid}
    self.respond({"branches": [main], "tags": [], "converts": []})


@route("GET", rf"/(?:(?P<prefix>dataset|space)s/)?{NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def _resolve(self: Handler, prefix: str | None, name: str, revision: str, path: str) -> None:
    commit = self.at(self.repo(prefix or "model", name, content=True), revision)
    blob = commit.files.get(path)
    if blob is None:
        raise HubError(404, f"{path} does not exist", "EntryNotFound")
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
    if blob.lfs:
        headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.data))}
    size = len(blob.data)
    requested = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
    if requested is None:
        self.respond(blob.data, headers=headers)
        return
    first, last = requested.groups()
    start = int(first) if first else size - int(last)
    end = min(int(last) if first and last else size - 1, size - 1)
    if not 0 <= start <= end:
        self.respond(b"", 416, headers | {"Content-Range": f"bytes */{size}"})
        return
    self.respond(blob.data[start : end + 1], 206, headers | {"Content-Range": f"bytes {start}-{end}/{size}"})
