# SPDX-License-Identifier: Apache-2.0
"""Derive the manifest of a built corpus from its shards."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pyarrow import compute, parquet
from tqdm.auto import tqdm

from mser_llm.io.hashing import file_sha256
from mser_llm.m5ser.build_config import FORMAT
from mser_llm.m5ser.shards import Shard, canonical_json


def derive_manifest(shards: Sequence[Shard], identity: Mapping[str, Any], *, progress: bool = True) -> dict[str, Any]:
    """Return the manifest of complete shards.

    Equal shards give equal manifests: there are no times and no host names in it. `manifest_hash` is the SHA-256 of
    everything else as canonical JSON.
    """
    described = [_describe(shard) for shard in tqdm(shards, desc="Hashing", unit="shard", disable=not progress)]
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "config": dict(identity),
        "config_hash": hash_of(identity),
        "shards": described,
        "rows": sum(shard["rows"] for shard in described),
        "hours": sum(shard["seconds"] for shard in described) / 3600,
    }
    return {**manifest, "manifest_hash": hash_of(manifest)}


def hash_of(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a value as canonical JSON."""
    return hashlib.sha256(canonical_json(dict(value)).encode()).hexdigest()


def _describe(shard: Shard) -> dict[str, Any]:
    durations = parquet.read_table(shard.data, columns=["duration"])["duration"]
    return {
        "path": shard.name,
        "language": shard.language,
        "rows": len(durations),
        "seconds": compute.sum(durations).as_py() or 0.0,
        "bytes": shard.data.stat().st_size,
        "sha256": file_sha256(shard.data),
        "rejects": parquet.read_metadata(shard.rejects).num_rows,
        "rejects_path": shard.rejects.relative_to(shard.folder).as_posix(),
        "rejects_sha256": file_sha256(shard.rejects),
    }
