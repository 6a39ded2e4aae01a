# SPDX-License-Identifier: Apache-2.0
"""Training data: rows to clips, clips to batches."""
