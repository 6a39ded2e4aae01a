# SPDX-License-Identifier: Apache-2.0
"""A trained model onto the Hub: everything that goes into its repository, the push, the proof, and the Space."""
