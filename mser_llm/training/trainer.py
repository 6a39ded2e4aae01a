# SPDX-License-Identifier: Apache-2.0
"""`MSERTrainer`: the language-model loss with contrastive objectives beside it, judged by unweighted accuracy."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import Sampler
from transformers import EvalPrediction, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.evaluation.protocols import TrainingRecord
from mser_llm.training.byol import BYOLAdaptation
from mser_llm.training.checkpointing import PickleFreeMixin
from mser_llm.training.data.batch_features import BatchFeatures, Masking
from mser_llm.training.data.dataset import EmotionDataset
from mser_llm.training.data.samplers import build_sampler
from mser_llm.training.finite_training import FiniteTrainingMixin
from mser_llm.training.fsdp import FSDPMixin
from mser_llm.training.hub_push import HubPushMixin
from mser_llm.training.objectives import BYOL, Objective, ObjectiveBatch, ObjectiveError
from mser_llm.training.objectives.parameters import ObjectiveParameters
from mser_llm.training.run_record import stopped_early
from mser_llm.training.shadow_weights import ShadowWeights, WeightAverage
from mser_llm.training.training_arguments import MSERTrainingArguments
from processing_mser import LabelSet, MSERProcessor


class MSERTrainer(FiniteTrainingMixin, FSDPMixin, PickleFreeMixin, HubPushMixin):
    """
    Eqs. (2) and (3) of arXiv:2503.21806, with any objectives in the place of the contrast: `sum of weight *
    objective(emotion embeddings, labels) + lambda * L_ce`. An objective with a `share` takes it from `L_ce`.

    Evaluation scores the label set's words after the prompt alone, as recognition does, and never shows the model the
    answer. Each term of the loss is logged apart as `loss_<name>`.

    Args:
        label_set: of the task.
        objectives: name to (weight, objective). What they train of their own is trained along, with the model's
            optimiser, and is no part of the model that is saved.
        processing_class: the `MSERProcessor`, saved with each checkpoint.
        kwargs: as for `Trainer`.

    Raises:
        ValueError: weights are to stand in for those of a model that `model_init` is yet to make.
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
        self._terms: dict[str, list[torch.Tensor]] = {}
        self.average = None if self.args.average_from is None else WeightAverage(self.model)
        self.objective_parameters = ObjectiveParameters(
            {name: objective.to(self.args.device) for name, (_, objective) in self.objectives.items()},
            self.accelerator,
            self.args.max_grad_norm,
        )
        self.add_callback(self.objective_parameters)
        args = self.args
        self.masking = Masking(args.time_masks, args.time_width, args.channel_masks, args.channel_width)
        self.byol: BYOLAdaptation | None = None
        if "byol" in self.objectives:
            byol = cast(BYOL, self.objectives["byol"][1])
            self.byol = BYOLAdaptation(self.accelerator.unwrap_model(self.model), byol, self.masking)
            self.add_callback(self.byol)
        if self.shadow is not None and self.model_init is not None:
            name = "byol" if self.average is None else "average_from"
            raise ValueError(
                f"model_init makes another model when training begins, which {name} would not follow; give model, the "
                "model itself"
            )

    @property
    def shadow(self) -> ShadowWeights | None:
        """The weights that are judged and saved, where these are not the trained ones."""
        return self.average if self.byol is None else self.byol.target

    def train_or_resume(self, checkpoint: str | None) -> None:
        """
        Trains from the start or from a whole checkpoint, to the same end.

        A run that had stopped early is not trained on: the stock `Trainer` would, for as long as it takes to decide to
        stop once more, and what it finds there an unbroken run never sees.

        Raises:
            TrainingDivergedError: a loss, a gradient or a weight is not finite.
        """
        if checkpoint is None or not stopped_early(checkpoint):
            self.train(resume_from_checkpoint=checkpoint)
        else:
            self.state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
            self.load_loss(checkpoint)
            self.log({"train_loss": self.train_loss})
            self.spread()
            if self.args.load_best_model_at_end:
                self._load_best_model()
            else:
                self._load_from_checkpoint(checkpoint)
                if self.shadow is not None:
                    self.shadow.load(checkpoint)
        if self.shadow is not None:
            self.shadow.apply()
        self.check_weights()

    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        objectives = self.objective_parameters.objectives.named_parameters()
        return super().trained_parameters() | {f"objectives.{name}": value for name, value in objectives}

    # Loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The weighted sum of all terms, a mean over this micro-batch; the Trainer divides it by their number."""
        inputs = dict(inputs)
        batch = ObjectiveBatch(*(inputs.pop(f"{kind}_labels") for kind in ("emotion", "language", "speaker")))
        views = inputs.pop("views")
        if self.byol is None:
            inputs = self._masked(inputs, spared=self._clean(views))
        else:
            inputs, batch = self.byol.views(inputs, batch)
        outputs = model(**inputs)
        weights, values = self._weights(), {"ce": outputs.loss}
        for name, (_, objective) in self.objectives.items():
            values[name] = objective(outputs.emotion_embedding, batch)
            self._note(objective.figures)
        self._note({f"loss_{name}": value.detach() for name, value in values.items()})
        loss = torch.stack([weights[name] * value for name, value in values.items()]).sum()
        return (loss, outputs) if return_outputs else loss

    def _weights(self) -> dict[str, float]:
        """Of each term at this moment; tells the objectives how far training is."""
        weights = {"ce": self.args.ce_weight}
        for name, (weight, objective) in self.objectives.items():
            objective.progress = self.state.global_step / max(self.state.max_steps, 1)
            if objective.share is not None:
                weights["ce"] *= 1 - objective.share
                weight *= objective.share
            weights[name] = weight
        return weights

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        # Before the step rather than after it, where the weights are the same and accumulation has no say.
        if self.average is not None and self.accelerator.sync_gradients:
            average_from = self.args.average_from * self.state.max_steps
            if self.state.global_step > average_from:
                self.average.update()
        return super().training_step(*args, **kwargs)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """As the stock method, with a group for what the objectives train of their own."""
        made = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if made and not self.is_fsdp_enabled:
            self._train_objectives(optimizer)
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """As the stock method; under FSDP it is here that the optimiser gets the group of the objectives."""
        # Spreading the model, accelerate looks in it for every weight of the optimiser; from here on others may come.
        if self.is_fsdp_enabled and self.lr_scheduler is None:
            self._train_objectives(self.optimizer)
        return super().create_scheduler(num_training_steps, optimizer)

    def _train_objectives(self, optimizer: torch.optim.Optimizer) -> None:
        if self.objective_parameters.parameters:
            if self.is_deepspeed_enabled:
                raise ObjectiveError(
                    "an objective trains weights of its own, and DeepSpeed's optimiser takes none beside the model's; "
                    "train with configs/accelerate/fsdp.yaml or ddp.yaml"
                )
            rate, decay = self.args.objective_learning_rate, self.args.weight_decay
            own = {"params": self.objective_parameters.parameters, "weight_decay": decay}
            optimizer.add_param_group(own | ({} if rate is None else {"lr": rate}))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if not self.args.should_save:
            return
        self.objective_parameters.save(output_dir)
        if self.shadow is not None:
            self.shadow.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        self.objective_parameters.load(checkpoint)
        if self.shadow is not None:
            self.shadow.load(checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.shadow is not None:
            self.shadow.load(self.state.best_model_checkpoint)

    def _clean(self, views: torch.Tensor) -> torch.Tensor | None:
        """Which clips of the batch are to stay as they are: of a clip and its changed view the first."""
        paired = self.args.balance == "speaker" and self.train_dataset.views > 1
        return views == 0 if paired else None

    def _masked(self, inputs: dict[str, torch.Tensor], spared: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """SpecAugment on the features, which costs nothing and so needs no views of its own in the cache."""
        return inputs | BatchFeatures.of(inputs).masked(self.masking, spared).inputs()

    def _note(self, figures: Mapping[str, torch.Tensor]) -> None:
        """Keeps figures of this step for the next log."""
        for name, value in figures.items():
            self._terms.setdefault(name, []).append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for name, values in sorted(self._terms.items()):
                mean = self.accelerator.reduce(torch.stack(values).mean(), reduction="mean")
                logs[name] = round(mean.item(), 6)
            self._terms.clear()
        super().log(logs, start_time)

    def results(self, earlier: TrainingRecord | None = None) -> dict[str, Any]:
        return super().results(earlier) | ({} if self.byol is None else {"byol": self.byol.record(self.state)})

    # Data

    def _get_train_sampler(self, train_dataset: EmotionDataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        order = build_sampler(dataset, self.args)
        return super()._get_train_sampler(dataset) if order is None else order

    # Evaluation

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As the stock method, of the weights that stand in for the trained ones where any do."""
        with nullcontext() if self.shadow is None else self.shadow.applied():
            return super().evaluate(*args, **kwargs)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """
        Scores of the candidate words `(batch_size, num_words)`.

        The batch holds question and answer; of the text, the model is shown the question alone.
        """
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
        figures = emotion_metrics(
            [words[index] for index in prediction.label_ids],
            [words[index] for index in prediction.predictions.argmax(-1)],
            words,
        )
        return {name: figures[name] for name in ("WA", "UA", "WF1", "macro_F1")}
