# SPDX-License-Identifier: Apache-2.0
"""What is published next to a model or a data set: card templates, endpoint handler, Space."""
