# SPDX-License-Identifier: Apache-2.0
"""Write checkpoints atomically and without pickle or secrets, and verify them before they are loaded."""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.distributed.fsdp import FSDPModule
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint, rotate_checkpoints

from modeling_mser.file_digests_mser import MODEL_DIGESTS, ModifiedFilesError, modified_files
from mser_llm.io.atomic_files import write_json
from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.training.compat import without_fsdp_class
from mser_llm.training.fsdp import gather_weights, load_local_state, load_sharded_weights, local_state
from mser_llm.training.training_state import load_state, save_state


STAGING = "partial-checkpoint"
SCALER = "scaler.json"


class CheckpointPart(Protocol):
    """State that a checkpoint contains in addition to the model and the optimizer."""

    def save(self, directory: str | Path) -> None: ...

    def load(self, directory: str | Path) -> None: ...


class AtomicCheckpointMixin(Trainer):
    """
    A `Trainer` whose checkpoints appear only when they are complete, and contain no pickle and no secret.

    The stock trainer writes in place and resumes from the highest-numbered folder, unchecked. A run killed during a
    save would resume from an incomplete checkpoint. Here a checkpoint is written to a staging folder that no resume
    looks for, flushed to disk, and renamed when all processes have written their part.

    The stock trainer also pickles its arguments, the Hub token included (`training_args.bin`), and the state of
    optimizer, scheduler, scaler and random number generators. A pickle can run code when it is loaded. Here the state
    is safetensors and JSON; `run.json` in the output folder records the settings. DeepSpeed still pickles its own
    state.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        # Further state to save and load.
        self.checkpoint_parts: list[CheckpointPart] = []
        super().__init__(*args, **kwargs)

    # Save

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        # `_internal_call` prevents a push, because the metrics for the model card are not known yet.
        with explain_disk_full(output_dir or str(self.args.output_dir)):
            if isinstance(self.model, FSDPModule):
                self._save(output_dir, state_dict=gather_weights(self.model, keep=self.args.should_save))
            else:
                super().save_model(output_dir, _internal_call=True)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        if self.args.should_save:
            folder = str(self.args.output_dir if output_dir is None else output_dir)
            Path(folder).mkdir(parents=True, exist_ok=True)
            model = self.accelerator.unwrap_model(self.model)
            model = without_fsdp_class(model) if isinstance(model, FSDPModule) else model
            model.save_pretrained(folder, state_dict=state_dict)
            self.processing_class.save_pretrained(folder)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run_dir = Path(self._get_output_dir(trial))
        final, staging = run_dir / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}", run_dir / STAGING
        if self.args.should_save:
            shutil.rmtree(staging, ignore_errors=True)
            with explain_disk_full(run_dir):
                staging.mkdir(parents=True)
        # Other processes write their own part of the state, as soon as the folder exists.
        self.accelerator.wait_for_everyone()
        self.store_flos()
        if self.state.best_global_step:
            self.state.best_model_checkpoint = str(run_dir / f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}")
        with explain_disk_full(run_dir):
            self.save_model(str(staging), _internal_call=True)
            if not self.args.save_only_model:
                self._save_optimizer_and_scheduler(str(staging))
                self._save_scaler(str(staging))
                self._save_rng_state(str(staging))
            if self.args.should_save:
                self._save_trainer_state(staging)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self._publish(staging, final)
            rotate_checkpoints(
                output_dir=str(run_dir),
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )
        self.accelerator.wait_for_everyone()

    def _save_trainer_state(self, directory: Path) -> None:
        """Save the state of the trainer and its callbacks, as the stock trainer does."""
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
                name, state = type(callback).__name__, callback.state()
                if isinstance(self.state.stateful_callbacks[name], list):
                    self.state.stateful_callbacks[name].append(state)
                else:
                    self.state.stateful_callbacks[name] = state
        self.state.save_to_json(str(directory / TRAINER_STATE_NAME))

    def _publish(self, complete: Path, final: Path) -> None:
        for path in [*complete.rglob("*"), complete]:
            _flush(path)
        # A rerun may reach a step that an earlier run saved after its last evaluation.
        shutil.rmtree(final, ignore_errors=True)
        complete.replace(final)
        _flush(final.parent)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_deepspeed_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.is_fsdp_enabled or self.args.should_save:
            optimizer = local_state(self.optimizer) if self.is_fsdp_enabled else self.optimizer.state_dict()
            state = {"optimizer": optimizer, "scheduler": self.lr_scheduler.state_dict()}
            save_state(state, self._optimizer_file(output_dir))
        if self.args.should_save:
            for part in self.checkpoint_parts:
                part.save(output_dir)

    def _save_scaler(self, output_dir: str) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and self.args.should_save:
            write_json(Path(output_dir) / SCALER, scaler.state_dict())

    def _save_rng_state(self, output_dir: str) -> None:
        states: dict[str, Any] = {"python": random.getstate(), "numpy": np.random.get_state()}
        states["cpu"] = torch.random.get_rng_state()
        if self.args.device.type != "cpu":
            module = torch.get_device_module(self.args.device)
            states["device"] = module.get_rng_state_all() if self.args.n_gpu > 1 else module.get_rng_state()
        Path(output_dir).mkdir(parents=True, exist_ok=True)  # on another machine, nobody else creates it
        save_state(states, self._rng_file(output_dir))

    # Load

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        verify_checkpoint(resume_from_checkpoint)
        if self.is_fsdp_enabled:
            load_sharded_weights(self.model, resume_from_checkpoint)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        checkpoint = str(self.state.best_model_checkpoint)
        verify_checkpoint(checkpoint)
        if self.is_fsdp_enabled:
            load_sharded_weights(self.model, checkpoint)
        else:
            super()._load_best_model()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.is_deepspeed_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        if self.is_fsdp_enabled or not (self.is_deepspeed_enabled or self.args.save_only_model):
            state = load_state(self._optimizer_file(checkpoint))
            if self.is_fsdp_enabled:
                load_local_state(self.optimizer, state["optimizer"])
            else:
                self.optimizer.load_state_dict(state["optimizer"])
            self.lr_scheduler.load_state_dict(state["scheduler"])
        for part in self.checkpoint_parts:
            part.load(checkpoint)

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and (Path(checkpoint) / SCALER).exists():
            self.accelerator.scaler.load_state_dict(json.loads((Path(checkpoint) / SCALER).read_text("utf-8")))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None or self.args.save_only_model:
            return
        states = load_state(self._rng_file(checkpoint))
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        torch.random.set_rng_state(states["cpu"])
        if "device" in states and self.args.device.type != "cpu":
            module = torch.get_device_module(self.args.device)
            (module.set_rng_state_all if self.args.n_gpu > 1 else module.set_rng_state)(states["device"])

    def _optimizer_file(self, directory: str) -> Path:
        # Under FSDP each process has its own part.
        number = f"_{self.args.process_index}" if self.is_fsdp_enabled else ""
        return Path(directory) / f"optimizer{number}.safetensors"

    def _rng_file(self, directory: str) -> Path:
        number = f"_{self.args.process_index}" if self.args.world_size > 1 else ""
        return Path(directory) / f"rng_state{number}.safetensors"


def verify_checkpoint(checkpoint: str) -> None:
    """Raise a `ModifiedFilesError` if the weights in a training checkpoint are not as they were saved."""
    differing = modified_files(checkpoint, MODEL_DIGESTS)
    if differing:
        raise ModifiedFilesError(
            f"{differing[0]}; delete {checkpoint} to resume from an earlier one, or start again with --no_resume"
        )


def last_checkpoint(output_dir: str | Path) -> str | None:
    """Return the last complete checkpoint in a folder, or `None`, and delete what a killed save left behind."""
    if not Path(output_dir).is_dir():
        return None
    shutil.rmtree(Path(output_dir) / STAGING, ignore_errors=True)
    return get_last_checkpoint(str(output_dir))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
