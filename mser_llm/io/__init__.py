# SPDX-License-Identifier: Apache-2.0
"""Files on disk: atomic writing, locks, hashes, disk errors, text formats, the folders installed with the package."""
