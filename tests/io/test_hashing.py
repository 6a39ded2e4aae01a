# SPDX-License-Identifier: Apache-2.0
import hashlib

import numpy as np
import pytest

from mser_llm.io.hashing import digest, file_sha256


def test_file_sha256_equals_hashlib(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_digest_depends_on_content_only():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    array = np.arange(12.0).reshape(3, 4)
    assert digest(array.T) == digest(array.T.copy()) != digest(array)


def test_digest_differs_between_similar_parts():
    parts = [
        (), ("",), ("ab",), ("a", "b"), (["a", "b"],), (b"ab",), (b"a", b"b"), ("1",), (1,), (True,), (None,),
        (np.zeros(4, np.float32),), (np.zeros((2, 2), np.float32),), (np.zeros(4, np.int32),), (bytes(16),),
    ]  # fmt: skip
    assert len({digest(*one) for one in parts}) == len(parts)


def test_digest_rejects_what_it_cannot_hash():
    with pytest.raises(TypeError):
        digest("name", {1, 2})
