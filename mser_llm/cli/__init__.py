# SPDX-License-Identifier: Apache-2.0
"""The jobs of `run-mser`: one file per sub-command, each with its arguments (`ARGUMENTS`), `HELP` and `run`."""
