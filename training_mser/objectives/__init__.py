# SPDX-License-Identifier: Apache-2.0
"""Training objectives beside the language-model loss, one file each."""

from .margin_contrast import MarginContrast


__all__ = ["MarginContrast"]
