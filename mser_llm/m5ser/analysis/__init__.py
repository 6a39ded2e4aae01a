# SPDX-License-Identifier: Apache-2.0
"""Analyze a built M5SER: count it, test whether its translations kept the emotion, write a report."""

from mser_llm.m5ser.analysis.analysis import analyse_corpus


__all__ = ["analyse_corpus"]
