# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters in the language model (Hu et al. 2021, arXiv:2106.09685), through peft."""

from collections.abc import Mapping
from typing import Any

from torch import nn


def inject_lora(language_model: nn.Module, settings: Mapping[str, Any]) -> None:
    """
    Insert adapters, which initially change nothing, into a language model. They become its only trainable part.

    Adapters are always float32, because half precision would lose small steps. `settings` are arguments of
    `peft.LoraConfig`; if no module matches its `target_modules`, peft raises a `ValueError`.
    """
    peft = require_peft()
    peft.inject_adapter_in_model(peft.LoraConfig(**settings), language_model)
    for name, parameter in language_model.named_parameters():
        if is_lora(name):
            parameter.data = parameter.data.float()


def merge_lora(language_model: nn.Module) -> None:
    """Add the adapters to the weights that they adapt, and remove them."""
    layer_with_adapter = require_peft().tuners.tuners_utils.BaseTunerLayer
    for name, module in list(language_model.named_modules()):
        if isinstance(module, layer_with_adapter):
            module.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(language_model.get_submodule(parent), child, module.get_base_layer())


def is_lora(name: str) -> bool:
    """Return whether the parameter or module of that name belongs to an adapter."""
    return any(part.startswith("lora_") for part in name.split("."))


def require_peft() -> Any:
    """Import peft, only for models with adapters: the import takes seconds."""
    try:
        import peft
        import peft.tuners.tuners_utils
    except ImportError as error:
        raise ImportError('adapters of the language model need peft; pip install "mser-llm[lora]"') from error
    return peft
