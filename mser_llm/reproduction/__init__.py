# SPDX-License-Identifier: Apache-2.0
"""The papers' tables and figures as commands: what is run for each, and the published numbers beside ours."""
