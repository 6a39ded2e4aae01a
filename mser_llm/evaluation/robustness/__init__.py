# SPDX-License-Identifier: Apache-2.0
"""Evaluate a model under noise, reverberation, codecs, overlapping speakers and mixed languages."""
