# SPDX-License-Identifier: Apache-2.0
"""What a built M5SER holds, and whether its translations kept the emotion: figures, tests, one page."""

from mser_llm.m5ser.analysis.analysis import analyse_corpus


__all__ = ["analyse_corpus"]
