# SPDX-License-Identifier: Apache-2.0
"""Baselines to compare a trained model with: guessing, eGeMAPS + SVM, and linear probes of the frozen encoder."""
