# SPDX-License-Identifier: Apache-2.0
"""`run-mser m5ser build`: emotional speech in five more languages from corpora that are at hand.

run-mser m5ser build m5ser/demo
run-mser m5ser build m5ser/paper --executor local --workers 2
"""

from data_mser.m5ser.build_config import BuildConfig


ARGUMENTS = BuildConfig
HELP = "Translate emotional speech into other languages, filter it and write it as Parquet."


def run(config: BuildConfig) -> None:
    """Builds what is missing and prints what there is."""
    from data_mser.m5ser.build import build

    build(config)
