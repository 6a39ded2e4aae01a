# SPDX-License-Identifier: Apache-2.0
"""Training recipes; `run-mser train` finds them by name."""
