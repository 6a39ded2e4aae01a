# SPDX-License-Identifier: Apache-2.0
"""Parse and validate the metadata of cards as the Hub does."""

import re
from typing import Any

import yaml


LICENCES = {"apache-2.0", "mit", "other", "unknown", "cc0-1.0", "openrail", "llama3", "gpl-3.0"} | {
    f"cc-by{variant}-{version}"
    for variant in ("", "-sa", "-nc", "-nd", "-nc-sa", "-nc-nd")
    for version in ("3.0", "4.0")
}
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M")


def front_matter(card: str) -> Any:
    """Parse the metadata of a README; return `None` if it has none.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    front = re.match(r"---\n(.*?\n)---\s", card, re.DOTALL)
    return yaml.safe_load(front.group(1)) if front else None


def metadata_errors(metadata: Any) -> list[str]:
    """List errors in a card's metadata that the Hub rejects and this project's cards could have."""

    def listed(key: str) -> list[Any]:
        value = metadata.get(key, [])
        return value if isinstance(value, list) else [value]

    if not isinstance(metadata, dict):
        return ["metadata should be a mapping"]
    errors = [f'"license" must not be {word!r}' for word in listed("license") if word not in LICENCES]
    errors += [
        f'"language" must not be {code!r}' for code in listed("language") if not re.fullmatch("[a-z]{2,3}", code)
    ]
    errors += [f'"size_categories" must not be {size!r}' for size in listed("size_categories") if size not in SIZES]
    errors += [f'"{key}" must contain strings' for key in ("tags", "datasets") if {*map(type, listed(key))} - {str}]
    names = [config.get("config_name") for config in listed("configs")]
    errors += ['"configs" must each have a name of their own'] if len({*names, None}) != len(names) + 1 else []
    return errors + ['"configs" must each name data_files' for c in listed("configs") if not c.get("data_files")]
