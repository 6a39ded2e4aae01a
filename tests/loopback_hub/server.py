# SPDX-License-Identifier: Apache-2.0
"""Server of the loopback Hub: sockets, tokens, access. Its routes are in `routes.py`."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .repositories import Commit, Repo, Token


class HubError(Exception):
    """An error response: its status, and the headers that clients read."""

    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class LoopbackHub:
    """The server and its state. A context manager.

    Attributes:
        repos: repositories by kind (`model`, `dataset`, `space`) and name.
        requests: number of requests by `(method, path)`.
        uploads: number of complete uploads by SHA-256.
        cut_uploads: number of next uploads whose connection is closed halfway. Set it to simulate this.
        tokens: known tokens.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: Counter[tuple[str, str]] = Counter()
        self.uploads: Counter[str] = Counter()
        self.cut_uploads = 0
        self.tokens = {
            "hf_owner": Token("owner", ("owner", "org")),
            "hf_reader": Token("owner", ("owner", "org"), write=False),
            "hf_stranger": Token("stranger", ("stranger",)),
        }
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "LoopbackHub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """Return variables that direct a client to this server; `home` is for its caches and has no token."""
        variables = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token or ""}
        offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "0")
        return variables | offline | {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}

    def count_requests(self, method: str, pattern: str) -> int:
        """Count requests with this method and a path that matches the regular expression."""
        return sum(n for (verb, path), n in self.requests.items() if verb == method and re.search(pattern, path))


Route = Callable[..., None]
_ROUTES: list[tuple[str, re.Pattern[str], Route]] = []
KIND = r"(?P<kind>model|dataset|space)s"
NAME = r"(?P<name>[^/]+/[^/]+)"


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    def register(function: Route) -> Route:
        _ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.path_only = unquote(urlsplit(self.path).path)
        self.query = {key: values[-1] for key, values in parse_qs(urlsplit(self.path).query).items()}
        method = self.command
        with self.hub.lock:
            self.hub.requests[method, self.path_only] += 1
        try:
            for verb, pattern, function in _ROUTES:
                match = pattern.fullmatch(self.path_only)
                if match and verb == ("GET" if method == "HEAD" else method):
                    # Uploads are concurrent and lock what they change.
                    with self.hub.lock if verb != "PUT" else nullcontext():
                        function(self, **match.groupdict())
                    return
            raise HubError(404, f"no {self.path_only} here", "RepoNotFound")
        except HubError as error:
            self.body()
            headers = {"X-Error-Message": error.message} | ({"X-Error-Code": error.code} if error.code else {})
            self.respond({"error": error.message}, error.status, headers)

    do_HEAD = do_POST = do_PUT = do_GET

    _body: bytes | None = None

    def handle_one_request(self) -> None:
        self._body = None
        super().handle_one_request()

    def body(self, half: bool = False) -> bytes:
        """Read the request's content, or half of it to simulate a lost connection."""
        if self._body is None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.headers.get("Transfer-Encoding") == "chunked":
                pieces = []
                while size := int(self.rfile.readline(), 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                    if half:
                        break
                else:
                    self.rfile.readline()
                self._body = b"".join(pieces)
            else:
                self._body = self.rfile.read(length // 2 if half else length)
        return self._body

    def json(self) -> dict[str, Any]:
        return json.loads(self.body() or b"{}")

    def respond(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(data))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def token(self) -> Token | None:
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if bearer and bearer not in self.hub.tokens:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.hub.tokens.get(bearer)

    def repo(self, kind: str, name: str, write: bool = False, content: bool = False) -> Repo:
        """Return a repository if the client can read it, write to it, or read the content of a gated one."""
        token, repo = self.token(), self.hub.repos.get((kind, name))
        mine = token is not None and name.split("/")[0] in token.namespaces
        if repo is None or (repo.private and not mine):
            raise HubError(404 if token else 401, "Repository not found", "RepoNotFound")
        if write and not (token and mine and token.write):
            raise HubError(403 if token else 401, "Forbidden: pass a token with write access to this repository")
        if content and repo.gated and not mine:
            raise HubError(403 if token else 401, f"Access to {kind} {name} is restricted", "GatedRepo")
        return repo

    def at(self, repo: Repo, revision: str) -> Commit:
        found = [commit for commit in repo.commits if commit.oid == revision]
        if not found and revision != "main":
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found[0] if found else repo.commits[-1]
