# SPDX-License-Identifier: Apache-2.0
"""Intervals over speakers, comparisons of two systems, groups and calibration."""
