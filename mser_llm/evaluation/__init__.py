# SPDX-License-Identifier: Apache-2.0
"""Scores to figures: metrics, the recognition loop, evaluation over corpora, and the report.

Nothing is imported here, so that `import mser_llm.evaluation.metrics` needs neither torch nor matplotlib.
"""
