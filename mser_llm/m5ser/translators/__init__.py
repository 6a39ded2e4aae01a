# SPDX-License-Identifier: Apache-2.0
"""Translators: speech in one language to speech in another, keeping its emotion."""
