# SPDX-License-Identifier: Apache-2.0
"""Create or check a repository on the Hub, and report its errors in one line with the fix."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from huggingface_hub import HfApi, get_session, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from mser_llm.io.errors import InputError


_RETRY = "run the same command again: it sends only what is missing"
_TIMEOUT_SECONDS = 10.0
# Files that the Hub creates in a new repository.
_INITIAL_FILES = {".gitattributes", "README.md"}


class PushError(InputError):
    """A model, dataset or Space cannot be published."""


@contextmanager
def hub_errors(repo_id: str, endpoint: str) -> Iterator[None]:
    """Raise the errors of huggingface_hub while writing to a repository as a `PushError` with the fix."""
    try:
        yield
    except (HTTPError, ConnectionError, RuntimeError) as error:
        # huggingface_hub raises a RuntimeError from the actual error if a file cannot be uploaded.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        if isinstance(cause, HfHubHTTPError):
            problem, fix = _explain(cause, repo_id)
            raise PushError(repo_id, f"{endpoint} {problem}", fix) from error
        # Errors of sockets may have no text.
        reason = " ".join(str(cause).split()) or type(cause).__name__
        problem = f"the connection to {endpoint} failed ({reason})"
        raise PushError(repo_id, problem, f"check the network, then {_RETRY}") from error


def _explain(error: HfHubHTTPError, repo_id: str) -> tuple[str, str]:
    """Return the problem and the fix for an HTTP error."""
    status = error.response.status_code
    if status == 401:
        problem = "rejects the token" if get_token() else "needs a token"
        return problem, "log in with hf auth login, or set HF_TOKEN"
    if status == 403:
        problem = f"does not let the token write to {repo_id}"
        return problem, "use a token with write access, or a --repo_id in your own namespace"
    if status == 404:
        return f"has no {repo_id} that the token can see", "check --repo_id, or use a token of its owner"
    problem = f"returned {status} ({' '.join(str(error.server_message or error.response.reason_phrase).split())})"
    transient = status >= 500 or status in (408, 409, 412, 429)
    return problem, _RETRY if transient else "--traceback shows where"


def check_connection(api: HfApi) -> None:
    """Raise httpx's error within 10 s if the Hub does not respond; huggingface_hub would retry for minutes."""
    get_session().head(api.endpoint, timeout=_TIMEOUT_SECONDS)


def open_repository(
    api: HfApi, repo_id: str, kind: str, *, private: bool, is_ours: Callable[[Mapping[str, RepoFile]], bool]
) -> tuple[Any, dict[str, RepoFile]]:
    """Create a repository, or check that an existing one may be written to.

    Args:
        api: client of the Hub.
        repo_id: `NAMESPACE/NAME`.
        kind: `model`, `dataset` or `space`.
        private: create it as private; an existing one must be private.
        is_ours: takes the files of an existing repository by path; returns whether they may be replaced.

    Returns:
        The Hub's information about the repository, and its files by path.
    """
    if "/" not in repo_id:
        raise PushError(repo_id, "has no namespace", f"pass --repo_id NAMESPACE/NAME, such as me/{repo_id}")
    check_connection(api)
    try:
        info = api.repo_info(repo_id, repo_type=kind)
    except RepositoryNotFoundError:
        sdk = "gradio" if kind == "space" else None
        api.create_repo(repo_id, repo_type=kind, private=private or None, space_sdk=sdk)
        info = api.repo_info(repo_id, repo_type=kind)
    tree = api.list_repo_tree(repo_id, repo_type=kind, recursive=True)
    files = {file.path: file for file in tree if isinstance(file, RepoFile)}
    settings = settings_page(api, repo_id, kind)
    if private and not info.private:
        raise PushError(repo_id, "exists and is public", f"make it private at {settings}, or pass another --repo_id")
    others = set(files) - _INITIAL_FILES
    if others and not is_ours(files):
        problem = f"exists and contains something else ({len(others)} files)"
        raise PushError(repo_id, problem, f"pass another --repo_id, or delete it at {settings}")
    return info, files


def settings_page(api: HfApi, repo_id: str, kind: str) -> str:
    """Return the address where the owner changes or deletes a repository."""
    return f"{api.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}/settings"
