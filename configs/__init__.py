# SPDX-License-Identifier: Apache-2.0
"""The training recipes, installed as the package `configs_mser`; `run-mser train` finds them by name."""
