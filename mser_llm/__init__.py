# SPDX-License-Identifier: Apache-2.0
"""Multilingual speech emotion recognition with a language model."""
