# SPDX-License-Identifier: Apache-2.0
"""A model under disturbances: noise, rooms, telephones, codecs, other speakers, other languages."""
