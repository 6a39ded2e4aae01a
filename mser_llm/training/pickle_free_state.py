# SPDX-License-Identifier: Apache-2.0
"""A trainer whose checkpoints hold no pickle and no secret."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer

from mser_llm.io.atomic_files import write_json
from mser_llm.training.training_state import load_state, save_state


OPTIMIZER, SCALER = "optimizer.safetensors", "scaler.json"


class PickleFreeState(Trainer):
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


__all__ = ["PickleFreeState"]
