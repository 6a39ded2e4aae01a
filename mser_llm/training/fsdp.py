# SPDX-License-Identifier: Apache-2.0
"""FSDP: shard the weights of a model over the processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only
from transformers import Trainer

from modeling_mser.fingerprint_mser import weight_files
from mser_llm.inference.model_types import find_model_type
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.checkpointing import verify_checkpoint
from mser_llm.training.training_arguments import MSERTrainingArguments
from mser_llm.training.training_state import load_state, save_state


class FSDPMixin(Trainer):
    """
    A `Trainer` of `MSERForEmotionGeneration` that keeps the model whole or, under FSDP, spreads it.

    The stock one gathers the whole model for each checkpoint, a frozen language model of many gigabytes included, and
    knows no optimiser that trains more than the model. Here a checkpoint of a spread model holds what any checkpoint
    does, the weights that are trained, gathered; and each process's own part of the optimiser's state, so that the
    same number of processes goes on to the same result.
    """

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_fsdp_enabled and self.model.config.freeze_audio:
            # A clip that is not kept is encoded by the one process that comes to it, while the others do not.
            self.accelerator.state.fsdp_plugin.ignored_modules = [self.model.audio_tower]
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.is_fsdp_enabled:
            # Evaluation calls it in the place of `forward`, which alone gathers the weights by itself.
            register_fsdp_forward_method(self.model, "score_emotions")
        return prepared

    def spread(self) -> None:
        """Under FSDP, spreads a model that is judged and saved without being trained on."""
        if self.is_fsdp_enabled:
            self._prepare_for_training(self.state.max_steps, self.get_train_dataloader(), None)

    # Weights

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if isinstance(self.model, FSDPModule):
            whole = self._gathered()
            with _own_class(self.model):
                self._save(output_dir, state_dict=whole)
        else:
            super().save_model(output_dir, _internal_call)

    def _gathered(self) -> dict[str, torch.Tensor]:
        """The weights that are saved, whole, in the process that saves; every process takes part."""
        left_out = set() if self.model.config.includes_backbones else self.model.frozen_backbone_keys()
        gathered = {}
        for name, value in self.model.state_dict().items():
            if name not in left_out:
                whole = value.full_tensor() if isinstance(value, DTensor) else value
                if self.args.should_save:
                    gathered[name] = whole.cpu()
        return gathered

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled:
            self._load_weights(resume_from_checkpoint)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled:
            self._load_weights(str(self.state.best_model_checkpoint))
        else:
            super()._load_best_model()

    @torch.no_grad()
    def _load_weights(self, checkpoint: str) -> None:
        """Puts a checkpoint's weights into the spread model, each process its share."""
        verify_checkpoint(checkpoint)
        weights = self.model.state_dict()
        for file in weight_files(checkpoint):
            with safe_open(file, framework="pt") as tensors:
                for name in weights.keys() & set(tensors.keys()):
                    weight, whole = weights[name], tensors.get_tensor(name).to(weights[name].device)
                    if isinstance(weight, DTensor):
                        # Without a source: each process has all of it and keeps its share.
                        whole = distribute_tensor(whole, weight.device_mesh, weight.placements, src_data_rank=None)
                    weight.copy_(whole)

    # Optimiser

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_fsdp_enabled:
            own = tree_map_only(DTensor, DTensor.to_local, self.optimizer.state_dict())
            state = {"optimizer": own, "scheduler": self.lr_scheduler.state_dict()}
            save_state(state, self._optimizer_file(output_dir))
        else:
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.is_fsdp_enabled and checkpoint is not None:
            saved = load_state(self._optimizer_file(checkpoint))
            state = saved["optimizer"]
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            for index, values in state["state"].items():
                if isinstance(parameters[index], DTensor):
                    state["state"][index] = _shares(values, parameters[index])
            self.optimizer.load_state_dict(state)
            self.lr_scheduler.load_state_dict(saved["scheduler"])
        else:
            super()._load_optimizer_and_scheduler(checkpoint)

    def _optimizer_file(self, directory: str) -> Path:
        return Path(directory) / f"optimizer_{self.args.process_index}.safetensors"


def _shares(values: dict[str, torch.Tensor], parameter: DTensor) -> dict[str, torch.Tensor]:
    """What an optimiser keeps of a parameter, as this process's share of it; a count of steps is every one's own."""
    mesh, placements, shape = parameter.device_mesh, parameter.placements, parameter.to_local().shape
    whole = {"shape": parameter.shape, "stride": parameter.stride()}
    return {
        name: DTensor.from_local(value.to(parameter.device), mesh, placements, run_check=False, **whole)
        if value.shape == shape
        else value
        for name, value in values.items()
    }


@contextmanager
def _own_class(model: Any) -> Iterator[None]:
    """The model as one of its own class, not of the one that FSDP made of it and whose code would be saved along."""
    made = type(model)
    model.__class__ = made.__mro__[2]  # after the made class and `FSDPModule`
    try:
        yield
    finally:
        model.__class__ = made


def shards_weights(arguments: MSERTrainingArguments) -> bool:
    """Whether FSDP was asked for, by `accelerate launch` or by the recipe's `fsdp`."""
    return bool(arguments.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def check_sharding(model_arguments: ModelArguments, arguments: MSERTrainingArguments) -> None:
    """
    Refuses FSDP's first version, and what needs the whole model in one process.

    Raises:
        ValueError: names the setting and what to do.
    """
    asked = arguments.fsdp_plugin_args or {"fsdp_version": os.environ.get("FSDP_VERSION", "1")}
    if int(asked["fsdp_version"]) != 2:
        raise ValueError(f"fsdp_version is {asked['fsdp_version']}; give 2, as in configs/accelerate/fsdp.yaml")
    needing = {
        f"model_type {model_arguments.model_type}": not find_model_type(model_arguments.model_type).has_language_model,
        f"average_from {arguments.average_from}": arguments.average_from is not None,
        "auto_find_batch_size": arguments.auto_find_batch_size,
    }
    for setting, given in needing.items():
        if given:
            raise ValueError(
                f"{setting} needs the whole model in one process, and FSDP spreads it; leave it out, or train with "
                "configs/accelerate/ddp.yaml"
            )


def place(model: Any, arguments: MSERTrainingArguments) -> None:
    """
    Moves a model to where it is trained; of one that is to be spread, the encoder alone.

    FSDP moves the rest, each process its share: as a whole the language model may fit on no device.
    """
    (model.audio_tower if shards_weights(arguments) else model).to(arguments.device)
