# SPDX-License-Identifier: Apache-2.0
"""A trainer that publishes what `run-mser push` publishes."""

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from mser_llm.evaluation.protocols import TrainingRecord
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.hub.data_record import data_record, trained_files
from mser_llm.hub.model_card import training_results, write_model_card
from mser_llm.io.atomic_files import write_json
from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.training.checkpointing import AtomicCheckpointMixin
from mser_llm.training.model_building import parameter_counts
from processing_mser import LabelSet


class HubPushMixin(AtomicCheckpointMixin):
    """
    A `Trainer` whose model gets to the Hub once, at the end, and whole: with its processor, its code, the card,
    examples and the endpoint handler.

    The stock one sends every checkpoint as it is, training state and all, and writes a card of its own, so
    `hub_strategy` plays no part here.
    """

    label_set: LabelSet

    def results(self, earlier: TrainingRecord | None = None) -> dict[str, Any]:
        """
        What `train_results.json` holds of a training.

        Args:
            earlier: the record of the stage before.
        """
        train = self.train_dataset.clips
        validation = self.eval_dataset.clips if self.eval_dataset is not None else []
        return {
            "validation": self.evaluate() if validation else None,
            "speakers": sorted({str(clip.row["speaker"]) for clip in train if clip.row["speaker"] is not None}),
            "files": sorted(trained_files(train)),
            "clips": {"train": len(train), "validation": len(validation)},
            "data": data_record(train, validation, self.label_set, earlier),
            "parameters": parameter_counts(self.accelerator.unwrap_model(self.model)),
            "log_history": self.state.log_history,
        }

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        # Called by a user, the stock method publishes too, before the figures for the card are known.
        with explain_disk_full(output_dir or str(self.args.output_dir)):
            super().save_model(output_dir, _internal_call=True)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """
        Makes the repository, or looks whether the one that exists may be written to, before anything is trained.

        Raises:
            PushError: as `push`.
        """
        if not self.is_world_process_zero():
            return
        from mser_llm.hub.push import hub_model_id, open_model_repository

        api = HfApi(token=token if token is not None else self.args.hub_token)
        self.hub_model_id = hub_model_id(api, self.args)
        private = private if private is not None else self.args.hub_private_repo
        open_model_repository(api, self.hub_model_id, private=bool(private))
        self.push_in_progress = None

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Nothing: see the class."""

    def push_to_hub(
        self,
        commit_message: str | None = None,
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **options: Any,
    ) -> str | Future[str] | None:
        """
        Saves the model with its record and its card and publishes it as `run-mser push` does.

        Args:
            commit_message: of the commit.
            blocking: whether to wait until it is there.
            token, private: in place of those in the arguments.
            revision: the branch; there is `main` alone.
            options: of `mser_llm.hub.push.push` (`space`, `verify`, `results`, `include_backbones`, …).

        Returns:
            the address, or what will give it; `None` on other processes than the first.

        Raises:
            PushError, ValueError: as `push`.
        """
        if (revision or self.args.hub_revision) not in (None, "main"):
            raise ValueError(f"revision is {revision or self.args.hub_revision!r}; a model is pushed to main")
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model()
        folder = Path(str(self.args.output_dir))
        record = training_results(folder)
        # What `train` wrote of this very training knows more of it.
        if record.get("log_history") != json.loads(json.dumps(self.state.log_history)):
            record = self.results()
        if not self.is_world_process_zero():
            return None
        write_json(folder / TRAIN_RESULTS, record)
        write_model_card(folder, record)
        from mser_llm.hub.push import push_run

        options |= {"token": token} if token is not None else {}
        options |= {"private": private} if private is not None else {}
        options |= {"commit_message": commit_message} if commit_message is not None else {}
        return push_run(self.args, **options) if blocking else HfApi().run_as_future(push_run, self.args, **options)
