# SPDX-License-Identifier: Apache-2.0
"""Atomic files, locks, hashes, a content-addressed store, disk errors, text formats, installed folders."""
