# SPDX-License-Identifier: Apache-2.0
"""Speed and memory beside what a user would otherwise run: every figure a ratio of two things measured alternately."""
