# SPDX-License-Identifier: Apache-2.0
"""Push a trained model to the Hub as `run-mser push` does."""

import json
from abc import abstractmethod
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers import Trainer

from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.hub.model_card import training_results, write_model_card
from mser_llm.io.atomic_files import write_json
from mser_llm.io.errors import InputError


class HubPushMixin(Trainer):
    """
    A `Trainer` that pushes the final model once, with its processor, code, card, examples and endpoint handler.

    The stock trainer pushes every checkpoint with its training state and writes its own card. `hub_strategy` has no
    effect here.
    """

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """Return the contents of `train_results.json`."""

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository, or check write access to an existing one, before training; errors as `push`."""
        if not self.is_world_process_zero():
            return
        from mser_llm.hub.push import hub_model_id, open_model_repository

        api = HfApi(token=token if token is not None else self.args.hub_token)
        self.hub_model_id = hub_model_id(api, self.args)
        private = private if private is not None else self.args.hub_private_repo
        open_model_repository(api, self.hub_model_id, private=bool(private))
        self.push_in_progress = None

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
        Save the model with its record and card, and push it as `run-mser push` does.

        Args:
            commit_message: of the commit.
            blocking: whether to wait for the upload.
            token, private: override the training arguments.
            revision: the branch; only `main` is supported.
            options: of `mser_llm.hub.push.push` (`space`, `verify`, `results`, `include_backbones`, …).

        Returns:
            The URL, or a future of it; `None` on all processes but the first.

        Raises:
            PushError, ValueError: as `push`.
        """
        revision = revision or self.args.hub_revision
        if revision not in (None, "main"):
            raise InputError("revision", f"cannot push to {revision!r}", "pass main, or leave it out")
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model()
        folder = Path(str(self.args.output_dir))
        record = training_results(folder)
        # Keep the record that `train` wrote for this training; it has more entries.
        if record.get("log_history") != json.loads(json.dumps(self.state.log_history)):
            record = self.results()
        if not self.is_world_process_zero():
            return None
        write_json(folder / TRAIN_RESULTS, record)
        write_model_card(folder, record)
        from mser_llm.hub.push import push_run

        given = {"token": token, "private": private, "commit_message": commit_message}
        options |= {name: value for name, value in given.items() if value is not None}
        return push_run(self.args, **options) if blocking else HfApi().run_as_future(push_run, self.args, **options)
