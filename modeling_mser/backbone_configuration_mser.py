# SPDX-License-Identifier: Apache-2.0
"""What a configuration that names backbones does when others are named on loading it."""

from typing import Any

from transformers import PreTrainedConfig


class BackboneConfig(PreTrainedConfig):
    """A configuration with `audio_backbone`, perhaps `text_backbone`, and their revisions."""

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """
        As in `PreTrainedConfig`, where `AutoModel` and `pipeline` put `audio_backbone=` and `text_backbone=`.
        What is named there comes without the revision of what it replaces, and goes on to the model too, which refuses
        it for a part that the checkpoint holds.
        """
        named = {name: kwargs[name] for name in ("audio_backbone", "text_backbone") if kwargs.get(name) is not None}
        for name, place in named.items():
            if place != config_dict.get(name):
                kwargs.setdefault(f"{name}_revision", None)
        made = super().from_dict(config_dict, **kwargs)
        return (made[0], made[1] | named) if kwargs.get("return_unused_kwargs") else made


__all__ = ["BackboneConfig"]
