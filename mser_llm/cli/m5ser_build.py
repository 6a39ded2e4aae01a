# SPDX-License-Identifier: Apache-2.0
"""`run-mser m5ser build`: emotional speech in five more languages from corpora that are at hand.

run-mser m5ser build m5ser/demo
run-mser m5ser build m5ser/paper --executor local --workers 2
"""

from collections.abc import Mapping
from typing import Any

from mser_llm.m5ser.build_config import BuildConfig


ARGUMENTS = BuildConfig
HELP = "Translate emotional speech into other languages, filter it and write it as Parquet."


def run(config: BuildConfig) -> int:
    """Builds what is missing and prints what there is."""
    from mser_llm.m5ser.build import build

    manifest = build(config)
    if manifest is None:
        print(f"The work is with Slurm; its last job writes {config.output_dir}/manifest.json.")
        print("Should jobs fail, run the same command again when none is running: whole shards are kept.")
        return 0
    print(summary(manifest))
    print(f"The corpus is in {config.output_dir}; its manifest hash is {manifest['manifest_hash']}")
    if any(shard["rows"] for shard in manifest["shards"]):
        return 0
    print(f"It holds no clip: every one was rejected; {config.output_dir}/README.md counts the reasons")
    return 1


def summary(manifest: Mapping[str, Any]) -> str:
    """Rows, hours and rejects of each language, and of all."""
    lines = [f"{'language':<10}{'rows':>8}{'hours':>9}{'rejected':>10}"]
    languages = list(dict.fromkeys(shard["language"] for shard in manifest["shards"]))
    for language in [*languages, "all"]:
        shards = [shard for shard in manifest["shards"] if language in (shard["language"], "all")]
        rows, rejects = (sum(shard[key] for shard in shards) for key in ("rows", "rejects"))
        hours = sum(shard["seconds"] for shard in shards) / 3600
        lines.append(f"{language:<10}{rows:>8}{hours:>9.3f}{rejects:>10}")
    return "\n".join(lines)
