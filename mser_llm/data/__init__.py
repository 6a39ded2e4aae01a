# SPDX-License-Identifier: Apache-2.0
"""Speech corpora to one row schema, splits by speaker, and the synthetic demo speech."""
