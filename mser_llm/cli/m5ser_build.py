# SPDX-License-Identifier: Apache-2.0
"""`run-mser m5ser build`: translate emotional speech corpora into other languages.

run-mser m5ser build m5ser/demo
run-mser m5ser build m5ser/paper --executor local --workers 2
"""

from collections.abc import Mapping
from typing import Any

from mser_llm.m5ser.build_config import BuildConfig


ARGUMENTS = BuildConfig
HELP = "Translate emotional speech into other languages, filter it and write it as Parquet."


def run(config: BuildConfig) -> int:
    """Build the missing shards and print a summary."""
    from mser_llm.m5ser.build import build

    manifest = build(config)
    if manifest is None:
        print(f"Submitted to Slurm; the last job writes {config.output_dir}/manifest.json.")
        print("If jobs fail, run the same command again when none is running: finished shards are kept.")
        return 0
    print(summary(manifest))
    print(f"corpus: {config.output_dir}, manifest hash {manifest['manifest_hash']}")
    if any(shard["rows"] for shard in manifest["shards"]):
        return 0
    print(f"The corpus is empty: every clip was rejected; see the reasons in {config.output_dir}/README.md")
    return 1


def summary(manifest: Mapping[str, Any]) -> str:
    """Format rows, hours and rejects by language and in total."""
    lines = [f"{'language':<10}{'rows':>8}{'hours':>9}{'rejected':>10}"]
    languages = list(dict.fromkeys(shard["language"] for shard in manifest["shards"]))
    for language in [*languages, "all"]:
        shards = [shard for shard in manifest["shards"] if language in (shard["language"], "all")]
        rows, rejects = (sum(shard[key] for shard in shards) for key in ("rows", "rejects"))
        hours = sum(shard["seconds"] for shard in shards) / 3600
        lines.append(f"{language:<10}{rows:>8}{hours:>9.3f}{rejects:>10}")
    return "\n".join(lines)
