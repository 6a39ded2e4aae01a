# SPDX-License-Identifier: Apache-2.0
"""How far a figure can be trusted: intervals over speakers, comparisons of two systems, groups, calibration."""
