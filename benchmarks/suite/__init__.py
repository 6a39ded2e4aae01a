# SPDX-License-Identifier: Apache-2.0
"""What `run-mser bench` measures: speed and memory as ratios of two systems that take turns in one run."""
