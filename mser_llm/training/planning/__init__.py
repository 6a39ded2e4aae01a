# SPDX-License-Identifier: Apache-2.0
"""What a training will cost in memory and time, before a single weight is loaded."""
