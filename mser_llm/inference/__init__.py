# SPDX-License-Identifier: Apache-2.0
"""Load a trained model and recognize emotions: batching, caching, compilation and quantization."""
