# SPDX-License-Identifier: Apache-2.0
"""
Private or moving APIs of transformers and torch that training depends on.

`tests/training/test_compat.py` names the version that changes one of them.
"""

from typing import Any

from torch.distributed.fsdp import FSDPModule


OVERRIDDEN_TRAINER_METHODS = {
    "_get_grad_norm": "called once per optimizer step, before the step: stop before a non-finite gradient is applied",
    "_get_train_sampler": "samplers that balance batches",
    "_finalize_training": "train_loss over all steps, those before a resume included",
    "_load_best_model": "verify the checkpoint; FSDP loads shards; shadow weights",
    "_load_from_checkpoint": "verify the checkpoint; FSDP loads shards",
    "_load_optimizer_and_scheduler": "state without pickle, and state of the objectives",
    "_load_rng_state": "state without pickle",
    "_load_scaler": "state without pickle",
    "_maybe_log_save_evaluate": "stop before non-finite weights are evaluated or saved",
    "_prepare_for_training": "FSDP without the frozen encoder",
    "_save": "no pickled arguments next to the weights",
    "_save_checkpoint": "write to a staging folder, publish when complete",
    "_save_optimizer_and_scheduler": "state without pickle, and state of the objectives",
    "_save_rng_state": "state without pickle",
    "_save_scaler": "state without pickle",
}
"""Private methods of `transformers.Trainer` that `MSERTrainer` overrides, with the reason; no public hook exists."""

CALLED_TRAINER_METHODS = {
    "_get_output_dir": "where the stock trainer looks for checkpoints",
}
"""Private methods of `transformers.Trainer` that are only called."""


def enable_activation_checkpointing(model: Any, options: dict[str, Any] | None = None) -> None:
    """
    Recompute activations in the backward pass instead of keeping them.

    transformers 5.23 renames `gradient_checkpointing_enable` to `activation_checkpointing_enable`.

    Args:
        model: a `PreTrainedModel`.
        options: of `torch.utils.checkpoint.checkpoint`; `use_reentrant=False` if None.
    """
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(options)


def without_fsdp_class(model: FSDPModule) -> Any:
    """
    Return an instance of the model's original class that shares all its state.

    `fully_shard` replaces the class by a subclass `(FSDPModule, original)` defined in torch. `save_pretrained` would
    copy the code of that module.
    """
    original: Any = type(model).__mro__[2]
    view = original.__new__(original)
    view.__dict__.update(model.__dict__)
    return view
