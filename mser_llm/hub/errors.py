# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between here and the Hub, each in one line with its cure."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError


_AGAIN = "run the same command again, which sends only what is missing"


class PushError(ValueError):
    """Something could not be published; one line with the cure."""


@contextmanager
def one_message(repo_id: str, endpoint: str) -> Iterator[None]:
    """Turns the errors of huggingface_hub into a PushError.

    Args:
        repo_id: of the repository that is written to.
        endpoint: address of the Hub.
    """
    try:
        yield
    except (HTTPError, ConnectionError, RuntimeError) as error:
        # A file that could not be uploaded is a RuntimeError about what had really happened.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        if isinstance(cause, HfHubHTTPError):
            text = f"{endpoint} {_answer(cause, repo_id)}"
        else:
            # Python's own errors of sockets have no text.
            reason = str(cause) or type(cause).__name__
            text = f"the connection to {endpoint} failed ({reason}); check the network, then {_AGAIN}"
        raise PushError(f"{repo_id}: {' '.join(text.split())}") from error


def _answer(error: HfHubHTTPError, repo_id: str) -> str:
    """What the Hub meant by an error, and what to do."""
    status = error.response.status_code
    if status == 401:
        problem = "does not know the token" if get_token() else "was given no token"
        return f"{problem}; log in with hf auth login, or set HF_TOKEN"
    if status == 403:
        return (
            f"does not let the token write to {repo_id}; take a token with write access to it, or a --repo_id in a "
            "namespace of yours"
        )
    if status == 404:
        return f"has no {repo_id} that the token may see; check --repo_id, or take a token of its owner"
    problem = f"answered {status} ({error.server_message or error.response.reason_phrase})"
    transient = status >= 500 or status in (408, 409, 412, 429)
    return f"{problem}; {_AGAIN if transient else '--traceback shows where'}"
