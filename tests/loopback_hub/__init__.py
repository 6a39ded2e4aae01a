# SPDX-License-Identifier: Apache-2.0
"""A stateful Hub on 127.0.0.1, in memory, for requests of huggingface_hub, datasets and transformers.

    with LoopbackHub() as hub:
        subprocess.run([...], env={**os.environ, **hub.environment(home, token="hf_owner")})
        assert hub.repos["dataset", "org/m5ser"].files["README.md"].data.startswith(b"---")

Clients read HF_ENDPOINT when they are imported, so they run in separate processes. Uploads use Git LFS
(`HF_HUB_DISABLE_XET=1`). Responses, status codes and headers are the Hub's where a client reads them.
"""

from . import routes  # noqa: F401, registers the routes
from .server import LoopbackHub


__all__ = ["LoopbackHub"]
