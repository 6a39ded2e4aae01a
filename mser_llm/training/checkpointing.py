# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: written atomically and without pickle."""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint, rotate_checkpoints

from modeling_mser.file_digests_mser import MODEL_DIGESTS, ModifiedFilesError, modified_files
from mser_llm.io.atomic_files import write_json
from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.training.training_state import load_state, save_state


STAGING = "partial-checkpoint"


class AtomicCheckpointMixin(Trainer):
    """
    A `Trainer` whose checkpoints become visible only when they are complete.

    The stock one writes in place and resumes from the folder of the highest number, unchecked, so that a run killed
    inside a save resumes from half a checkpoint. Here the stock method writes into a staging folder, whose name no
    resume looks for; the checkpoint is flushed to the disk and renamed when all processes have written their part.
    """

    _staging: Path | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._staging is None else str(self._staging)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run_dir = Path(self._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        final, staging = run_dir / name, run_dir / STAGING
        if self.args.should_save:
            shutil.rmtree(staging, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._staging = staging
        try:
            with explain_disk_full(run_dir):
                super()._save_checkpoint(model, trial)
        finally:
            self._staging = None
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self._publish(staging / name, final)
            staging.rmdir()
            rotate_checkpoints(
                output_dir=str(run_dir),
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )
        if self.state.best_global_step:
            self.state.best_model_checkpoint = str(run_dir / f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}")
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        verify_checkpoint(resume_from_checkpoint)
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        verify_checkpoint(str(self.state.best_model_checkpoint))
        super()._load_best_model()

    def _publish(self, whole: Path, final: Path) -> None:
        if self.state.best_global_step == self.state.global_step:
            self.state.best_model_checkpoint = str(final)
            state_file = whole / "trainer_state.json"
            state = json.loads(state_file.read_text())
            state["best_model_checkpoint"] = str(final)
            state_file.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n")
        for path in [*whole.rglob("*"), whole]:
            _flush(path)
        # A rerun may come to a step that an earlier run saved after its last evaluation.
        shutil.rmtree(final, ignore_errors=True)
        whole.replace(final)
        _flush(final.parent)


def verify_checkpoint(checkpoint: str) -> None:
    """
    Check that the weights in a training checkpoint are as they were saved.

    Raises:
        ModifiedFilesError: a file differs, is missing or was added.
    """
    differing = modified_files(checkpoint, MODEL_DIGESTS)
    if differing:
        raise ModifiedFilesError(
            f"{differing[0]}; delete {checkpoint} to resume from an earlier one, or start again with --no_resume"
        )


def last_checkpoint(output_dir: str | Path) -> str | None:
    """The last whole checkpoint in a folder, or `None`; what a killed save left behind is deleted."""
    if not Path(output_dir).is_dir():
        return None
    shutil.rmtree(Path(output_dir) / STAGING, ignore_errors=True)
    return get_last_checkpoint(str(output_dir))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


OPTIMIZER, SCALER = "optimizer.safetensors", "scaler.json"


class PickleFreeMixin(Trainer):
    """
    A `Trainer` that saves the state of a training as safetensors and JSON.

    The stock one pickles all its arguments next to the weights (`training_args.bin`), the Hub token among them, and
    the state of optimizer, scheduler, scaler and random number generators. A pickle can run code when it is loaded.
    The arguments are left out here, because `run.json` in the output folder records all that decide the result, and
    no token. DeepSpeed saves and loads its own state, which is still pickled.
    """

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        if self.args.should_save:
            folder = str(self.args.output_dir if output_dir is None else output_dir)
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.accelerator.unwrap_model(self.model).save_pretrained(folder, state_dict=state_dict)
            self.processing_class.save_pretrained(folder)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_deepspeed_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            state = {"optimizer": self.optimizer.state_dict(), "scheduler": self.lr_scheduler.state_dict()}
            save_state(state, Path(output_dir) / OPTIMIZER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.is_deepspeed_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
        elif checkpoint is not None and not self.args.save_only_model:
            state = load_state(Path(checkpoint) / OPTIMIZER)
            self.optimizer.load_state_dict(state["optimizer"])
            self.lr_scheduler.load_state_dict(state["scheduler"])

    def _save_scaler(self, output_dir: str) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and self.args.should_save:
            write_json(Path(output_dir) / SCALER, scaler.state_dict())

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and (Path(checkpoint) / SCALER).exists():
            self.accelerator.scaler.load_state_dict(json.loads((Path(checkpoint) / SCALER).read_text("utf-8")))

    def _save_rng_state(self, output_dir: str) -> None:
        states: dict[str, Any] = {
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "cpu": torch.random.get_rng_state(),
        }
        if self.args.device.type != "cpu":
            module = torch.get_device_module(self.args.device)
            states["device"] = module.get_rng_state_all() if self.args.n_gpu > 1 else module.get_rng_state()
        Path(output_dir).mkdir(parents=True, exist_ok=True)  # another process makes it, maybe later
        save_state(states, self._rng_file(output_dir))

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

    def _rng_file(self, directory: str) -> Path:
        number = f"_{self.args.process_index}" if self.args.world_size > 1 else ""
        return Path(directory) / f"rng_state{number}.safetensors"
