# SPDX-License-Identifier: Apache-2.0
"""Speech in one language to speech in another, its emotion kept."""
