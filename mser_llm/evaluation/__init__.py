# SPDX-License-Identifier: Apache-2.0
"""Evaluation: predictions, metrics, statistics, protocols, baselines, robustness tests and the report.

Nothing is imported here, so that `import mser_llm.evaluation.metrics` needs neither torch nor matplotlib.
"""
