# SPDX-License-Identifier: Apache-2.0
"""What a trained model has to beat: guessing, the classical system, and a linear probe on the frozen encoder."""
