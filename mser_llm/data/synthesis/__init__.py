# SPDX-License-Identifier: Apache-2.0
"""Speech that this machine makes itself: espeak-ng, and the demo speech spoken by it."""
