# SPDX-License-Identifier: Apache-2.0
"""A Hub on 127.0.0.1 that remembers: what huggingface_hub, datasets and transformers ask of huggingface.co, in memory.

    with LoopbackHub() as hub:
        subprocess.run([...], env={**os.environ, **hub.environment(home, token="hf_owner")})
        assert hub.repos["dataset", "org/m5ser"].files["README.md"].data.startswith(b"---")

The clients read HF_ENDPOINT when they are imported, so they run in processes of their own. Uploads are those of Git
LFS (`HF_HUB_DISABLE_XET=1`). Answers, status codes and headers are the Hub's where a client looks at them.
"""

from . import answers  # noqa: F401, the routes register themselves
from .server import LoopbackHub


__all__ = ["LoopbackHub"]
