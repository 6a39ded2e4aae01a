# SPDX-License-Identifier: Apache-2.0
"""M5SER: English emotional speech translated, filtered, written as a data set, and checked."""
