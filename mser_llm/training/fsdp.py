# SPDX-License-Identifier: Apache-2.0
"""
Shard the weights of a model over the processes with FSDP2, and save and load them.

The stock trainer gathers the complete model for each checkpoint, including a frozen language model of many gigabytes.
It does not support an optimizer with parameters outside the model. Here a checkpoint has the same contents as without
FSDP: the gathered trained weights. Each process saves its own part of the optimizer state, so that a resume with the
same number of processes gives the same result.
"""

import os
from typing import Any

import torch
from safetensors import safe_open
from torch.distributed.tensor import DTensor, distribute_tensor

from modeling_mser.fingerprint_mser import weight_files
from mser_llm.inference.model_types import find_model_type
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.training_arguments import MSERTrainingArguments


def shards_weights(arguments: MSERTrainingArguments) -> bool:
    """Return whether `accelerate launch` or the recipe's `fsdp` asks for FSDP."""
    return bool(arguments.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def check_sharding(model_arguments: ModelArguments, arguments: MSERTrainingArguments) -> None:
    """Raise an `InputError` for FSDP1, and for settings that need the complete model in one process."""
    plugin = arguments.fsdp_plugin_args or {"fsdp_version": os.environ.get("FSDP_VERSION", "1")}
    if int(plugin["fsdp_version"]) != 2:
        raise InputError(
            "fsdp_version", f"{plugin['fsdp_version']} is not supported", "pass 2, as in configs/accelerate/fsdp.yaml"
        )
    unsupported = {
        f"model_type {model_arguments.model_type}": not find_model_type(model_arguments.model_type).has_language_model,
        f"average_from {arguments.average_from}": arguments.average_from is not None,
        "auto_find_batch_size": arguments.auto_find_batch_size,
    }
    for setting, used in unsupported.items():
        if used:
            raise InputError(
                setting,
                "FSDP shards the model, and this needs the complete model in one process",
                "leave it out, or train with configs/accelerate/ddp.yaml",
            )


def gather_weights(model: Any, keep: bool) -> dict[str, torch.Tensor]:
    """Gather the weights that a checkpoint contains, on all processes; those that do not save them `keep` none."""
    left_out = set() if model.config.includes_backbones else model.frozen_backbone_keys()
    gathered = {}
    for name, value in model.state_dict().items():
        if name not in left_out:
            complete = value.full_tensor() if isinstance(value, DTensor) else value
            if keep:
                gathered[name] = complete.cpu()
    return gathered


@torch.no_grad()
def load_sharded_weights(model: Any, checkpoint: str) -> None:
    """Load a checkpoint into a sharded model, each process its own shards."""
    weights = model.state_dict()
    for file in weight_files(checkpoint):
        with safe_open(file, framework="pt") as tensors:
            for name in weights.keys() & set(tensors.keys()):
                weight, loaded = weights[name], tensors.get_tensor(name).to(weights[name].device)
                if isinstance(weight, DTensor):
                    # No source rank: each process reads the complete tensor and keeps its own shard.
                    loaded = distribute_tensor(loaded, weight.device_mesh, weight.placements, src_data_rank=None)
                weight.copy_(loaded)


def local_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return this process's part of the optimizer state, in plain tensors."""
    state = optimizer.state_dict()
    local = {
        index: {name: value.to_local() if isinstance(value, DTensor) else value for name, value in values.items()}
        for index, values in state["state"].items()
    }
    return state | {"state": local}


def load_local_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load what `local_state` returned."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sharded = {
        index: _as_shards(values, parameters[index]) if isinstance(parameters[index], DTensor) else values
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict(state | {"state": sharded})


def _as_shards(values: dict[str, torch.Tensor], parameter: DTensor) -> dict[str, torch.Tensor]:
    """Convert the optimizer's tensors for one parameter to shards; a step count is not sharded."""
    mesh, placements, shape = parameter.device_mesh, parameter.placements, parameter.to_local().shape
    complete = {"shape": parameter.shape, "stride": parameter.stride()}
    return {
        name: DTensor.from_local(value.to(parameter.device), mesh, placements, run_check=False, **complete)
        if value.shape == shape
        else value
        for name, value in values.items()
    }
