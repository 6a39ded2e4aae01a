# SPDX-License-Identifier: Apache-2.0
"""Private APIs that training depends on, by version."""

import inspect

import pytest
import torch
import transformers
from torch import distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from transformers import Trainer

from mser_llm.training.compat import CALLED_TRAINER_METHODS, OVERRIDDEN_TRAINER_METHODS, without_fsdp_class
from mser_llm.training.trainer import MSERTrainer


PARAMETERS = {
    "_get_grad_norm": ["model", "grad_norm"],
    "_get_output_dir": ["trial"],
    "_get_train_sampler": ["train_dataset"],
    "_finalize_training": ["trial", "num_train_samples", "start_time"],
    "_load_best_model": [],
    "_load_from_checkpoint": ["resume_from_checkpoint", "model"],
    "_prepare_for_training": ["max_steps", "train_dataloader", "resume_from_checkpoint"],
    "_save": ["output_dir", "state_dict"],
    "_save_checkpoint": ["model", "trial"],
    **{f"_load_{state}": ["checkpoint"] for state in ("optimizer_and_scheduler", "rng_state", "scaler")},
    **{f"_save_{state}": ["output_dir"] for state in ("optimizer_and_scheduler", "rng_state", "scaler")},
}


@pytest.mark.parametrize("name", OVERRIDDEN_TRAINER_METHODS | CALLED_TRAINER_METHODS)
def test_trainer_has_and_calls_the_private_method(name: str):
    version = f"transformers {transformers.__version__}"
    method = getattr(Trainer, name, None)
    assert method is not None, f"{version} has no Trainer.{name}; adapt mser_llm/training/compat.py and its users"
    assert f"self.{name}" in inspect.getsource(Trainer), f"{version} never calls {name}"
    if name in PARAMETERS:
        found = list(inspect.signature(method).parameters)[1:]
        assert found == PARAMETERS[name], f"{version} changes the parameters of Trainer.{name} to {found}"


def test_trainer_overrides_only_listed_private_methods():
    ours = {name for one in MSERTrainer.__mro__ if one.__module__.startswith("mser_llm") for name in vars(one)}
    private = {name for name in ours if name.startswith("_") and not name.startswith("__") and hasattr(Trainer, name)}
    assert private == set(OVERRIDDEN_TRAINER_METHODS)


def test_without_fsdp_class_shares_state_with_the_sharded_model(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        model = nn.Linear(2, 2)
        fully_shard(model, mesh=dist.device_mesh.init_device_mesh("cpu", (1,)))
        view = without_fsdp_class(model)
        assert type(view) is nn.Linear, f"torch {torch.__version__} builds FSDP classes in another way"
        assert isinstance(model, FSDPModule) and view.weight is model.weight
    finally:
        dist.destroy_process_group()
