# SPDX-License-Identifier: Apache-2.0
"""Publish a trained model on the Hugging Face Hub: its repository, its card, the push, a check, and a Space."""
