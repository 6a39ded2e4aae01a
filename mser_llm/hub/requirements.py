# SPDX-License-Identifier: Apache-2.0
"""What a machine of the Hub installs to run a model."""

# What the code that travels with a model imports; the tasks of this project need more.
MODEL_REQUIREMENTS = "transformers>=5.20,<6\ntorch>=2.6\nsoundfile>=0.12.1\nsoxr>=0.5\n"
