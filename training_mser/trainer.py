# SPDX-License-Identifier: Apache-2.0
"""`MSERTrainer`: the language-model loss with contrastive objectives beside it, judged by unweighted accuracy."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import EvalPrediction, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from evaluation_mser.metrics import emotion_metrics
from processing_mser import LabelSet, MSERProcessor
from processing_mser.augmentation_mser import mask_features

from .arguments import MSERTrainingArguments
from .dataset import EmotionDataset
from .objective_parameters import ObjectiveParameters
from .objectives import Objective, ObjectiveBatch
from .pushed_whole import PushedWhole
from .run_record import stopped_early
from .training_order import training_order
from .weight_average import WeightAverage


class MSERTrainer(PushedWhole):
    """
    Eqs. (2) and (3) of arXiv:2503.21806, with any objectives in the place of the contrast: `sum of weight *
    objective(emotion embeddings, labels) + lambda * L_ce`.

    Evaluation scores the label set's words after the prompt alone, as recognition does, and never shows the model the
    answer. Each term of the loss is logged apart as `loss_<name>`.

    Args:
        label_set: of the task.
        objectives: name to (weight, objective). What they train of their own is trained along, with the model's
            optimiser, and is no part of the model that is saved.
        processing_class: the `MSERProcessor`, saved with each checkpoint.
        kwargs: as for `Trainer`.
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

    def train_or_resume(self, checkpoint: str | None) -> None:
        """
        Trains from the start or from a whole checkpoint, to the same end.

        A run that had stopped early is not trained on: the stock `Trainer` would, for as long as it takes to decide to
        stop once more, and what it finds there an unbroken run never sees.
        """
        if checkpoint is None or not stopped_early(checkpoint):
            self.train(resume_from_checkpoint=checkpoint)
            if self.average is not None:
                self.average.apply()
            return
        self.state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
        if self.args.load_best_model_at_end:
            self._load_best_model()
        else:
            self._load_from_checkpoint(checkpoint)

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
        outputs = model(**self._masked(inputs))
        terms = {"ce": (self.args.ce_weight, outputs.loss)}
        for name, (weight, objective) in self.objectives.items():
            objective.progress = self.state.global_step / max(self.state.max_steps, 1)
            terms[name] = (weight, objective(outputs.emotion_embedding, batch))
        for name, (_, value) in terms.items():
            self._terms.setdefault(f"loss_{name}", []).append(value.detach())
        loss = torch.stack([weight * value for weight, value in terms.values()]).sum()
        return (loss, outputs) if return_outputs else loss

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
        if made and self.objective_parameters.parameters:
            rate, decay = self.args.objective_learning_rate, self.args.weight_decay
            own = {"params": self.objective_parameters.parameters, "weight_decay": decay}
            optimizer.add_param_group(own | ({} if rate is None else {"lr": rate}))
        return optimizer

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if not self.args.should_save:
            return
        self.objective_parameters.save(output_dir)
        if self.average is not None:
            self.average.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        self.objective_parameters.load(checkpoint)
        if self.average is not None:
            self.average.load(checkpoint)

    def _masked(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """SpecAugment on the features, which costs nothing and so needs no views of its own in the cache."""
        args = self.args
        if not (args.time_masks or args.channel_masks):
            return inputs
        # Encoder states are (batch, layers, frames, channels) and share one mask over the layers; spectrograms are
        # (batch, channels, frames).
        name, mask_name = "encoder_states", "encoder_mask"
        if name not in inputs:
            name, mask_name = "input_features", "input_features_mask"
        features = inputs[name]
        frames_first = features[:, 0] if features.dim() == 4 else features.transpose(1, 2)
        kept = mask_features(
            torch.ones_like(frames_first),
            inputs[mask_name],
            time_masks=args.time_masks,
            time_width=args.time_width,
            channel_masks=args.channel_masks,
            channel_width=args.channel_width,
        )
        return inputs | {name: features * (kept[:, None] if features.dim() == 4 else kept.transpose(1, 2))}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for name, values in sorted(self._terms.items()):
                mean = self.accelerator.reduce(torch.stack(values).mean(), reduction="mean")
                logs[name] = round(mean.item(), 6)
            self._terms.clear()
        super().log(logs, start_time)

    # Data

    def _get_train_sampler(self, train_dataset: EmotionDataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        order = training_order(dataset, self.args)
        return super()._get_train_sampler(dataset) if order is None else order

    # Evaluation

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As the stock method, of the averaged weights where they are averaged."""
        with nullcontext() if self.average is None else self.average.applied():
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
                **self.processing_class.question(inputs), candidate_ids=self.candidate_ids, **audio
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
