# SPDX-License-Identifier: Apache-2.0
"""Files for the Hub: card templates, endpoint handler, Space."""
