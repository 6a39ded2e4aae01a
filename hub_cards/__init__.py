# SPDX-License-Identifier: Apache-2.0
"""Templates of what is shown on the Hub, installed as `hub_cards_mser`."""
