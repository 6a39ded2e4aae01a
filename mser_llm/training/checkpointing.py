# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are whole or absent."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint, rotate_checkpoints

from modeling_mser.file_digests_mser import MODEL_DIGESTS, ModifiedFilesError, modified_files
from mser_llm.io.disk_errors import explain_disk_full


STAGING = "partial-checkpoint"


class WholeCheckpoints(Trainer):
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
