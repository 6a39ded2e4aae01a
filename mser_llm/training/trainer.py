# SPDX-License-Identifier: Apache-2.0
"""`MSERTrainer`: train with the language-model loss and further objectives, select by unweighted accuracy."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import register_fsdp_forward_method
from torch.utils.data import Sampler
from transformers import EvalPrediction, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.evaluation.protocols import TrainingRecord
from mser_llm.hub.data_record import data_record, trained_files
from mser_llm.io.errors import InputError
from mser_llm.training.checkpointing import AtomicCheckpointMixin
from mser_llm.training.data.batch_features import BatchFeatures, Masking
from mser_llm.training.data.dataset import EmotionDataset
from mser_llm.training.data.samplers import build_sampler
from mser_llm.training.finite_training import FiniteTrainingMixin
from mser_llm.training.hub_push import HubPushMixin
from mser_llm.training.model_building import parameter_counts
from mser_llm.training.objectives import Objective, ObjectiveBatch, ObjectiveError
from mser_llm.training.objectives.callback import ObjectiveCallback
from mser_llm.training.run_record import stopped_early
from mser_llm.training.shadow_weights import ShadowWeights, WeightAverage
from mser_llm.training.training_arguments import MSERTrainingArguments
from processing_mser import LabelSet, MSERProcessor


class MSERTrainer(FiniteTrainingMixin, HubPushMixin, AtomicCheckpointMixin):
    """
    A `Trainer` for Eqs. (2) and (3) of arXiv:2503.21806, with any objectives in place of the contrast.

    The loss is `sum of weight * objective(emotion embeddings, labels) + lambda * L_ce`. An objective with a `share`
    takes it from `L_ce`. Each term is logged as `loss_<name>`.

    Evaluation scores the candidate labels after the prompt, as inference does; the model never sees the correct label.

    Args:
        label_set: the label set.
        objectives: name to (weight, objective). Their parameters are trained with the model's optimizer and are not
            part of the saved model.
        processing_class: the `MSERProcessor`, saved with each checkpoint.
        kwargs: as for `Trainer`.

    Raises:
        InputError: shadow weights together with `model_init`.
    """

    args: MSERTrainingArguments

    def __init__(
        self,
        *args: Any,
        label_set: LabelSet,
        objectives: Mapping[str, tuple[float, Objective]] | None = None,
        processing_class: MSERProcessor,
        **kwargs: Any,
    ):
        kwargs.setdefault("compute_metrics", self._compute_metrics)
        super().__init__(*args, processing_class=processing_class, **kwargs)
        self.label_set = label_set
        self.objectives = dict(objectives or {})
        self.candidate_ids = processing_class.candidate_ids(label_set.words)
        self._metrics: dict[str, list[torch.Tensor]] = {}
        self.average = None if self.args.average_from is None else WeightAverage(self.model)
        self.masking = Masking(
            self.args.time_masks, self.args.time_width, self.args.channel_masks, self.args.channel_width
        )
        self.objective_callback = ObjectiveCallback(
            {name: objective.to(self.args.device) for name, (_, objective) in self.objectives.items()},
            self.accelerator,
            self.args.max_grad_norm,
        )
        for _, objective in self.objectives.values():
            objective.attach(self.accelerator.unwrap_model(self.model), self.masking)
        self.add_callback(self.objective_callback)
        self.checkpoint_parts += [self.loss_sum, self.objective_callback]
        if self.shadow is not None:
            self.checkpoint_parts.append(self.shadow)
            if self.model_init is not None:
                raise InputError("model_init", "shadow weights would not follow the new model", "pass model instead")

    @property
    def shadow(self) -> ShadowWeights | None:
        """Return the weights that replace the trained ones for evaluation and saving, if any."""
        of_objectives = (objective.shadow_weights for _, objective in self.objectives.values())
        return self.average or next((weights for weights in of_objectives if weights is not None), None)

    def train_or_resume(self, checkpoint: str | None) -> None:
        """
        Train from the start or from a checkpoint, to the same result.

        A run that stopped early is not trained further. The stock trainer would continue until it stops again, and
        could find a better checkpoint that an uninterrupted run never reaches.
        """
        if checkpoint is None or not stopped_early(checkpoint):
            self.train(resume_from_checkpoint=checkpoint)
        else:
            self.state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
            self.loss_sum.load(checkpoint)
            self.log({"train_loss": self.loss_sum.mean})
            if self.is_fsdp_enabled:
                self._prepare_for_training(self.state.max_steps, self.get_train_dataloader(), None)
            if self.args.load_best_model_at_end:
                self._load_best_model()
            else:
                self._load_from_checkpoint(checkpoint)
                if self.shadow is not None:
                    self.shadow.load(checkpoint)
        if self.shadow is not None:
            self.shadow.apply()
        self.check_weights()

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_fsdp_enabled and self.model.config.freeze_audio:
            # One process alone encodes a clip that is not in the cache.
            self.accelerator.state.fsdp_plugin.ignored_modules = [self.model.audio_tower]
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.is_fsdp_enabled:
            # Evaluation calls it in place of `forward`, so it must gather the weights too.
            register_fsdp_forward_method(self.model, "score_emotions")
        return prepared

    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        objectives = self.objective_callback.objectives.named_parameters()
        return super().trained_parameters() | {f"objectives.{name}": value for name, value in objectives}

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.shadow is not None:
            self.shadow.load(self.state.best_model_checkpoint)

    # Loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Return the weighted sum of all terms, a mean over this micro-batch; `Trainer` averages these."""
        inputs = dict(inputs)
        labels = [inputs.pop(f"{kind}_labels") for kind in ("emotion", "language", "speaker")]
        batch = ObjectiveBatch(*labels, progress=self.state.global_step / max(self.state.max_steps, 1))
        views = inputs.pop("views")
        if not any(objective.augments for _, objective in self.objectives.values()):
            # An original clip that is paired with an augmented view is not masked.
            paired = self.args.balance == "speaker" and self.train_dataset.views > 1
            inputs |= BatchFeatures.of(inputs).masked(self.masking, views == 0 if paired else None).inputs()
        for _, objective in self.objectives.values():
            inputs, batch = objective.prepare_batch(inputs, batch)
        outputs = model(**inputs)
        weights, terms = {"ce": self.args.ce_weight}, {"ce": outputs.loss}
        for name, (weight, objective) in self.objectives.items():
            terms[name], metrics = objective.compute(outputs.emotion_embedding, batch)
            self._collect(metrics)
            share = objective.share(batch.progress)
            weights[name] = weight if share is None else weight * share
            weights["ce"] *= 1 if share is None else 1 - share
        self._collect({f"loss_{name}": value.detach() for name, value in terms.items()})
        loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        return (loss, outputs) if return_outputs else loss

    def _collect(self, metrics: Mapping[str, torch.Tensor]) -> None:
        """Keep metrics of this step for the next log entry."""
        for name, value in metrics.items():
            self._metrics.setdefault(name, []).append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for name, values in sorted(self._metrics.items()):
                mean = self.accelerator.reduce(torch.stack(values).mean(), reduction="mean")
                logs[name] = round(mean.item(), 6)
            self._metrics.clear()
        super().log(logs, start_time)

    # Optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        # Before the step, the weights are those after the previous optimizer step, also with gradient accumulation.
        if (
            self.average is not None
            and self.accelerator.sync_gradients
            and self.state.global_step > self.args.average_from * self.state.max_steps
        ):
            self.average.update()
        return super().training_step(*args, **kwargs)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Create the optimizer with a parameter group for the objectives."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new and not self.is_fsdp_enabled:
            self._add_objective_parameters(optimizer)
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Create the scheduler; under FSDP, first add the parameter group for the objectives to the optimizer."""
        # While accelerate shards the optimizer, each of its parameters must be in the model.
        if self.is_fsdp_enabled and self.lr_scheduler is None:
            self._add_objective_parameters(self.optimizer)
        return super().create_scheduler(num_training_steps, optimizer)

    def _add_objective_parameters(self, optimizer: torch.optim.Optimizer) -> None:
        parameters = self.objective_callback.parameters
        if not parameters:
            return
        if self.is_deepspeed_enabled:
            raise ObjectiveError(
                "objectives",
                "DeepSpeed's optimizer does not take the parameters of an objective",
                "train with configs/accelerate/fsdp.yaml or ddp.yaml",
            )
        rate = self.args.objective_learning_rate
        group = {"params": parameters, "weight_decay": self.args.weight_decay}
        optimizer.add_param_group(group | ({} if rate is None else {"lr": rate}))

    def _get_train_sampler(self, train_dataset: EmotionDataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        sampler = build_sampler(dataset, self.args)
        return super()._get_train_sampler(dataset) if sampler is None else sampler

    # Evaluation

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate, with the shadow weights if there are any."""
        with nullcontext() if self.shadow is None else self.shadow.applied():
            return super().evaluate(*args, **kwargs)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Score the candidate labels `(batch_size, num_words)` after the prompt; the model never gets the label."""
        inputs = self._prepare_inputs(inputs)
        targets = inputs["emotion_labels"]
        audio = {name: inputs[name] for name in inputs if name.startswith(("input_features", "encoder_"))}
        with self.compute_loss_context_manager():
            scores = self.accelerator.unwrap_model(model).score_emotions(
                **self.processing_class.prompt_inputs(inputs), candidate_ids=self.candidate_ids, **audio
            )
        loss = torch.nn.functional.cross_entropy(scores, targets)
        return (loss, None, None) if prediction_loss_only else (loss, scores, targets)

    def _compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        words = self.label_set.words
        metrics = emotion_metrics(
            [words[index] for index in prediction.label_ids],
            [words[index] for index in prediction.predictions.argmax(-1)],
            words,
        )
        return {name: metrics[name] for name in ("WA", "UA", "WF1", "macro_F1")}

    def results(self, earlier: TrainingRecord | None = None) -> dict[str, Any]:
        """Return the contents of `train_results.json`, given the record of the previous stage."""
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
            **self.objective_callback.reports(self.state),
        }
