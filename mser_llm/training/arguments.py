# SPDX-License-Identifier: Apache-2.0
"""Settings of a training, defined without torch; `training_arguments` adds those of transformers."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from mser_llm.inference.model_types import model_types_with
from mser_llm.io.errors import InputError
from mser_llm.training.number_bounds import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, SHARE, check_numbers
from processing_mser import MAX_SECONDS


_MODEL_BOUNDS = {
    **dict.fromkeys(("num_query_tokens", "lora_rank", "head_size", "embedding_size"), AT_LEAST_ONE),
    **dict.fromkeys(("lora_alpha", "max_seconds"), POSITIVE),
    **dict.fromkeys(("lora_dropout", "head_dropout"), SHARE),
    "trained_layers": NOT_NEGATIVE,
}
TRAINING_BOUNDS = {
    **dict.fromkeys(("learning_rate", "objective_learning_rate", "adam_epsilon"), POSITIVE),
    **dict.fromkeys(("logging_steps", "eval_steps", "save_steps"), POSITIVE),
    **dict.fromkeys(("weight_decay", "max_grad_norm", "warmup_steps", "num_train_epochs"), NOT_NEGATIVE),
    **dict.fromkeys(("neftune_noise_alpha", "dataloader_num_workers", "eval_delay"), NOT_NEGATIVE),
    **dict.fromkeys(("ce_weight", "contrast_weight"), NOT_NEGATIVE),
    **dict.fromkeys(("contrast_positive_weight", "contrast_negative_weight"), NOT_NEGATIVE),
    **dict.fromkeys(("time_masks", "time_width", "channel_masks", "channel_width"), NOT_NEGATIVE),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "average_from"), SHARE),
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), AT_LEAST_ONE),
    **dict.fromkeys(("gradient_accumulation_steps", "epoch_batches", "speakers_per_batch"), AT_LEAST_ONE),
    **dict.fromkeys(("clips_per_speaker", "save_total_limit", "early_stopping_patience"), AT_LEAST_ONE),
}


def _option(default: Any, help_: str) -> Any:
    """Define a field with its help; `[]` is a new list for each instance."""
    given: dict[str, Any] = {"default_factory": list} if default == [] else {"default": default}
    return field(**given, metadata={"help": help_})


@dataclass
class ModelArguments:
    """
    The model: a checkpoint to continue, or the parts to build one from.

    > Initial weights

    `init_from` continues a checkpoint (stage 2 after stage 1); of the other model arguments, only those that freeze
    parts apply. Without it, each part starts with its backbone's weights. A part without a backbone starts with random
    weights and is trained.
    """

    model_type: Literal["mser", "whisper_classifier", "wav2vec2_classifier"] = _option(
        "mser", "MSER, or one of two methods to compare with (docs/neighbours.md)."
    )
    init_from: str | None = _option(None, "Checkpoint to continue (stage 2 after stage 1).")
    audio_backbone: str | None = _option(
        None, "Path or Hub id of the speech encoder; environment variables are expanded."
    )
    audio_backbone_revision: str | None = _option(None, "Hub revision of the encoder.")
    text_backbone: str | None = _option(
        None,
        "Language model: a path or Hub id, a GGUF file, or smollm2 (docs/language_models.md); environment "
        "variables are expanded.",
    )
    text_backbone_revision: str | None = _option(None, "Hub revision of the language model.")
    qformer_backbone: str | None = _option(
        None, "Path or Hub id of a BERT that initializes the Q-Former, or minilm; random weights by default."
    )
    audio_config: dict | None = None
    qformer_config: dict | None = None
    text_config: dict | None = None
    num_query_tokens: int = _option(32, "Number K of learned queries, which is the number of audio positions.")
    encoder_layers: str = _option(
        "last", 'Encoder layers that the Q-Former uses: "last", "weighted", or numbers such as "2,3,4".'
    )
    freeze_audio: bool = _option(True, "Do not train the encoder.")
    freeze_text: bool = _option(True, "Do not train the language model.")
    backbone_dtype: Literal["auto", "float32", "bfloat16"] = _option(
        "auto", "Precision of the frozen parts; auto is bfloat16 on a GPU that supports it, float32 elsewhere."
    )
    lora: bool = _option(False, "Train low-rank adapters of the frozen language model; needs the extra lora.")
    lora_rank: int = _option(8, "Rank of the LoRA adapters.")
    lora_alpha: int = _option(16, "Scale of the LoRA adapters: their output is multiplied by alpha / rank.")
    lora_dropout: float = _option(0.05, "Dropout of the LoRA adapters' input.")
    lora_targets: str = _option("q_proj,v_proj", "Names of the linear layers that get a LoRA adapter.")
    prompt_version: str = _option("v1", "Version of the prompt template.")
    pad_to: str = _option("longest", 'Padding of the features: "longest" with a mask, or "30s" as in stock Whisper.')
    trained_layers: int | None = _option(
        None, "Number of top encoder layers that a whisper_classifier trains; all by default."
    )
    max_seconds: float = _option(4.0, "Seconds that a whisper_classifier uses, from the middle of a clip.")
    head_size: int = _option(256, "Hidden width of a classifier's head.")
    head_dropout: float = _option(0.1, "Dropout of a classifier's head.")
    pooling: Literal["mean", "mean_std"] = _option("mean", "How a wav2vec2_classifier pools the frames.")
    embedding_size: int = _option(256, "Width of a wav2vec2_classifier's emotion embedding.")

    def __post_init__(self) -> None:
        for setting in fields(self):
            types = model_types_with(setting.name)
            if self.model_type not in types and getattr(self, setting.name) != setting.default:
                raise InputError(setting.name, f"for {' and '.join(types)}, not for {self.model_type}", "leave it out")
        if self.encoder_layers not in ("last", "weighted"):
            self.parsed_layers  # noqa: B018 - rejects invalid layers before anything is loaded
        check_numbers(vars(self), _MODEL_BOUNDS)
        if self.lora and not self.freeze_text:
            raise InputError("lora", "the language model itself is trained too", "set freeze_text: true")

    @property
    def lora_settings(self) -> dict[str, Any]:
        """Return the arguments of `MSERForEmotionGeneration.add_lora`."""
        return {
            "r": self.lora_rank,
            "lora_alpha": self.lora_alpha,
            "lora_dropout": self.lora_dropout,
            "target_modules": [name.strip() for name in self.lora_targets.split(",")],
        }

    @property
    def parsed_layers(self) -> str | list[int]:
        """Return the `encoder_layers` of `MSERConfig`."""
        if self.encoder_layers in ("last", "weighted"):
            return self.encoder_layers
        try:
            return [int(layer) for layer in self.encoder_layers.split(",")]
        except ValueError:
            fix = "pass last, weighted, or numbers such as 2,3,4"
            raise InputError("encoder_layers", f"cannot read {self.encoder_layers!r}", fix) from None


@dataclass
class DataArguments:
    """
    The data: corpora, label set, stage, and the feature cache.

    > The two stages (arXiv:2503.21806, Sec. IV-B)

    Stage 1 trains on English human speech. Stage 2 adds speech in other languages, or replaces English with it. The
    paper seems to replace it; docs/paper.md explains why adding is the default. `joint` is one stage on all speech.
    """

    corpora: list[str] = _option([], "Training corpora, each as NAME=PATH.")
    labels: str = _option("seven", 'Label set: "four", "seven", or words such as "happy,sad".')
    stage: Literal["1", "2", "joint"] = _option("joint", "Training stage: 1, 2 or joint.")
    stage2_mix: Literal["add", "replace"] = _option(
        "add", "Whether stage 2 adds other languages to the English of stage 1 or replaces it."
    )
    train_splits: list[str] = _option(
        [],
        "Published splits of the corpora to train on, such as train. Corpora without such a split, and by "
        "default all corpora, are used completely. A translation of M5SER belongs to the split of its source.",
    )
    validation_splits: list[str] = _option(
        [],
        "Published splits that select the checkpoint, such as dev. They are not trained on. Corpora "
        "without such a split hold out speakers (validation_fraction).",
    )
    min_clip_seconds: float = _option(0.0, "Reject shorter clips.")
    max_clip_seconds: float = _option(MAX_SECONDS, "Reject longer clips; at most 30.")
    validation_fraction: float = _option(
        0.15, "Share of each corpus, by speaker, held out for validation; 0 trains on all."
    )
    validation_corpora: list[str] = _option(
        [],
        "Held-out corpora for validation, instead of a share of each corpus. Use them to select settings "
        "for unseen languages.",
    )
    split_seed: int = _option(0, "Seed of the speaker split; use the same in both stages.")
    views: int = _option(1, "Number of views of each training clip: the clip itself and augmented ones.")
    augmentation: Literal["default", "low_resource"] = _option(
        "default", "Augmentation of the views; low_resource is that of the speaker-contrastive method."
    )
    unlabelled: bool = _option(False, "Keep clips without an emotion of the label set, as unlabelled clips.")
    labelled_languages: list[str] = _option(
        [],
        "Languages whose emotion labels are used, such as en; clips in other languages are kept as "
        "unlabelled. By default all languages.",
    )
    unlabelled_corpora: list[str] = _option(
        [], "Corpora whose emotion labels are not used, such as the tested one; their clips are kept as unlabelled."
    )
    cache_dir: str = _option("~/.cache/mser-llm", "Folder of the feature cache, so that each clip is encoded once.")
    cache_gb: float = _option(
        20.0, "Maximum size of the feature cache in GB; other clips are encoded in every epoch. 0 disables it."
    )

    def __post_init__(self) -> None:
        check_numbers(vars(self), {"cache_gb": NOT_NEGATIVE, "validation_fraction": SHARE, "views": AT_LEAST_ONE})
        both = sorted({*self.train_splits} & {*self.validation_splits})
        if both:
            raise InputError("train_splits, validation_splits", f"both name {', '.join(both)}", "name each split once")
        if self.validation_splits and self.validation_corpora:
            raise InputError("validation_splits, validation_corpora", "both are set", "pass one of them")
        if not 0 <= self.min_clip_seconds < self.max_clip_seconds <= MAX_SECONDS:
            raise InputError(
                "min_clip_seconds, max_clip_seconds",
                f"{self.min_clip_seconds:g} to {self.max_clip_seconds:g} is no valid range",
                f"pass an increasing range between 0 and {MAX_SECONDS:g}",
            )

    @property
    def validates(self) -> bool:
        """Return whether clips are held out for validation."""
        return bool(self.validation_corpora or self.validation_splits) or self.validation_fraction != 0


@dataclass
class MSERTrainingOptions:
    """
    Options that `MSERTrainingArguments` adds to transformers' `TrainingArguments`, and changed defaults.

    > Loss

    Eqs. (2) and (3) of the paper: contrast + lambda * language-model loss. The paper does not state w1, w2, m and
    lambda; these defaults are the simplest and were not tuned. `objectives` names terms that replace the contrast or
    are added to it, with weights and options (docs/objectives.md).

    > Changed defaults

    Evaluate and save once per epoch. End with the best checkpoint by unweighted accuracy (UA) on held-out speakers.
    """

    ce_weight: float = _option(1.0, "Weight lambda of the language-model loss.")
    contrast_weight: float = _option(1.0, "Weight of the contrast, Eq. (1); 0 disables it.")
    contrast_positive_weight: float = _option(1.0, "Weight w1 of positive pairs in Eq. (1).")
    contrast_negative_weight: float = _option(1.0, "Weight w2 of negative pairs in Eq. (1).")
    contrast_margin: float = _option(0.0, "Margin m of Eq. (1), a cosine.")
    contrast_reduction: Literal["mean", "sum"] = _option(
        "mean", "Mean over the ordered pairs of a batch, or their sum as in the paper."
    )
    objectives: dict | None = None
    without: list[str] = _option([], "Objectives of the recipe to leave out, for an ablation.")
    objective_learning_rate: float | None = _option(
        None, "Learning rate of the objectives' own parameters; by default that of the model."
    )
    balance: Literal["none", "emotion", "emotion_language", "speaker", "source"] = _option(
        "emotion_language",
        "Balance batches by emotion, by emotion and language, or by speaker; source draws batches of only "
        "labelled or only unlabelled clips at random.",
    )
    speakers_per_batch: int = _option(16, "Speakers per batch with balance speaker.")
    clips_per_speaker: int = _option(4, "Clips per speaker with balance speaker.")
    epoch_batches: int | None = _option(
        None, "Batches per epoch; by default as many as it takes to use each clip once."
    )
    clean_views: bool = _option(True, "Draw the clips themselves in addition to their augmented views.")
    time_masks: int = _option(0, "Number of time masks per training clip (SpecAugment).")
    time_width: int = _option(20, "Maximum width of a time mask, in feature frames.")
    channel_masks: int = _option(0, "Number of channel masks per training clip (SpecAugment).")
    channel_width: int = _option(32, "Maximum width of a channel mask, in channels.")
    average_from: float | None = _option(
        None, "Part of the training, 0 to 1, after which weights are averaged; the average is the final model."
    )
    early_stopping_patience: int | None = _option(None, "Stop after this many evaluations without a better UA.")

    eval_strategy: Literal["no", "steps", "epoch"] = _option("epoch", "When to evaluate.")
    save_strategy: Literal["no", "steps", "epoch", "best"] = _option("epoch", "When to save.")
    save_total_limit: int | None = _option(2, "Checkpoints to keep, in addition to the best.")
    load_best_model_at_end: bool = _option(True, "End with the best checkpoint.")
    metric_for_best_model: str | None = _option("UA", "Metric that selects the best checkpoint.")
    logging_steps: float = _option(10, "Steps between two log entries.")
    remove_unused_columns: bool = _option(False, "Must be false: the collator reads all fields of a row.")
    restore_callback_states_from_checkpoint: bool = _option(
        True, "Restore the counter of early stopping; needed for an exact resume."
    )
    ddp_find_unused_parameters: bool | None = _option(False, "False, because every step uses all trained weights.")
    resume: bool = _option(
        True, "Resume from the last complete checkpoint in output_dir; otherwise delete existing checkpoints."
    )
