# SPDX-License-Identifier: Apache-2.0
"""Speech synthesis with espeak-ng, and the demo speech generated with it."""
