# SPDX-License-Identifier: Apache-2.0
"""The papers' tables and figures as commands, with the published numbers next to ours."""
