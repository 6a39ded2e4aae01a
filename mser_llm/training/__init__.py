# SPDX-License-Identifier: Apache-2.0
"""Training: objectives, samplers, encoder cache, the trainer and the two stages."""
