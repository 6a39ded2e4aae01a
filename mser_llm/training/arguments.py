# SPDX-License-Identifier: Apache-2.0
"""Arguments of a training, without torch: `training_arguments` adds those of transformers."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from mser_llm.inference.model_types import model_types_with
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


@dataclass
class ModelArguments:
    """
    The model: a checkpoint to go on from, or the parts to build one of.

    > Where it starts

    `init_from` continues a checkpoint (stage 2 after stage 1) and leaves the other arguments of this group aside, but
    for what is frozen. Without it each part has its backbone's weights or, without one, is random and trained.
    """

    model_type: Literal["mser", "whisper_classifier", "wav2vec2_classifier"] = field(
        default="mser", metadata={"help": "MSER, or one of the two methods it is compared with (docs/neighbours.md)."}
    )
    init_from: str | None = field(default=None, metadata={"help": "Checkpoint to go on from (stage 2 after stage 1)."})
    audio_backbone: str | None = field(
        default=None, metadata={"help": "Path or Hub id of the encoder; environment variables are expanded."}
    )
    audio_backbone_revision: str | None = field(default=None, metadata={"help": "Its Hub revision."})
    text_backbone: str | None = field(
        default=None, metadata={"help": "Path or Hub id of the language model; environment variables are expanded."}
    )
    text_backbone_revision: str | None = field(default=None, metadata={"help": "Its Hub revision."})
    qformer_backbone: str | None = field(
        default=None, metadata={"help": "Path or Hub id of a BERT that initialises the Q-Former; random without."}
    )
    audio_config: dict | None = None
    qformer_config: dict | None = None
    text_config: dict | None = None
    num_query_tokens: int = field(default=32, metadata={"help": "Learned queries K, and audio positions."})
    encoder_layers: str = field(
        default="last", metadata={"help": 'What the Q-Former sees: "last", "weighted", or layers as in "2,3,4".'}
    )
    freeze_audio: bool = field(default=True, metadata={"help": "Keep the encoder as it is."})
    freeze_text: bool = field(default=True, metadata={"help": "Keep the language model as it is."})
    backbone_dtype: Literal["auto", "float32", "bfloat16"] = field(
        default="auto",
        metadata={
            "help": "Weights of the frozen parts; auto is bfloat16 on a GPU that has it, and float32 elsewhere."
        },
    )
    lora: bool = field(
        default=False, metadata={"help": "Train low-rank adapters of the frozen language model (the extra lora)."}
    )
    lora_rank: int = field(default=8, metadata={"help": "Their rank."})
    lora_alpha: int = field(default=16, metadata={"help": "Their scale: what they add counts alpha / rank."})
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout of their input."})
    lora_targets: str = field(default="q_proj,v_proj", metadata={"help": "The linear layers that get one, by name."})
    prompt_version: str = field(default="v1", metadata={"help": "Prompt template."})
    pad_to: str = field(default="longest", metadata={"help": '"longest" under a mask, or "30s" as stock Whisper.'})
    trained_layers: int | None = field(
        default=None, metadata={"help": "Top layers that a whisper_classifier trains; without, all of them."}
    )
    max_seconds: float = field(
        default=4.0, metadata={"help": "What a whisper_classifier hears of a clip, in its middle."}
    )
    head_size: int = field(default=256, metadata={"help": "Hidden width of a classifier's head."})
    head_dropout: float = field(default=0.1, metadata={"help": "Dropout of a classifier's head."})
    pooling: Literal["mean", "mean_std"] = field(
        default="mean", metadata={"help": "How a wav2vec2_classifier makes one vector of all frames."}
    )
    embedding_size: int = field(default=256, metadata={"help": "Width of a wav2vec2_classifier's emotion embedding."})

    def __post_init__(self) -> None:
        for setting in fields(self):
            types = model_types_with(setting.name)
            if self.model_type not in types and getattr(self, setting.name) != setting.default:
                raise ValueError(
                    f"{setting.name} is of {' and '.join(types)}, and model_type is {self.model_type}; leave it out"
                )
        if self.encoder_layers not in ("last", "weighted"):
            self.parsed_layers  # noqa: B018 - refuse nonsense before anything is loaded
        check_numbers(self, _MODEL_BOUNDS)
        if self.lora and not self.freeze_text:
            raise ValueError("lora trains adapters in the language model's place; set freeze_text: true")

    @property
    def lora_settings(self) -> dict[str, Any]:
        """The adapters as `MSERForEmotionGeneration.add_lora` takes them."""
        return {
            "r": self.lora_rank,
            "lora_alpha": self.lora_alpha,
            "lora_dropout": self.lora_dropout,
            "target_modules": [name.strip() for name in self.lora_targets.split(",")],
        }

    @property
    def parsed_layers(self) -> str | list[int]:
        """`encoder_layers` as `MSERConfig` takes it."""
        if self.encoder_layers in ("last", "weighted"):
            return self.encoder_layers
        try:
            return [int(layer) for layer in self.encoder_layers.split(",")]
        except ValueError:
            raise ValueError(
                f'encoder_layers is {self.encoder_layers!r}; give "last", "weighted" or layers as in "2,3,4"'
            ) from None


@dataclass
class DataArguments:
    """
    The data: corpora, label set, stage, and where features are kept.

    > The two stages (arXiv:2503.21806, Sec. IV-B)

    Stage 1 trains on English human speech, stage 2 on speech in other languages, which is added to the English or
    replaces it: the paper reads as the latter, and docs/paper.md says why the default is the former. `joint` is one
    stage over all.
    """

    corpora: list[str] = field(default_factory=list, metadata={"help": "NAME=PATH of each training corpus."})
    labels: str = field(default="seven", metadata={"help": 'Label set: "four", "seven", or words as in "happy,sad".'})
    stage: Literal["1", "2", "joint"] = field(default="joint", metadata={"help": "Which data: 1, 2 or joint."})
    stage2_mix: Literal["add", "replace"] = field(
        default="add", metadata={"help": "Whether stage 2 adds to the English of stage 1 or replaces it."}
    )
    train_splits: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Parts of a corpus's own division that are used, such as train, to leave its test untouched. "
            "Corpora without such a part are used whole, and so are all by default. A translation of M5SER counts "
            "as the part of its source."
        },
    )
    validation_splits: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Parts of a corpus's own division that choose the checkpoint, such as dev, and are not trained "
            "on. Corpora without such a part hold out speakers (validation_fraction)."
        },
    )
    min_clip_seconds: float = field(default=0.0, metadata={"help": "Shorter clips are rejected."})
    max_clip_seconds: float = field(default=MAX_SECONDS, metadata={"help": "Longer clips are rejected; 30 at most."})
    validation_fraction: float = field(
        default=0.15,
        metadata={"help": "Share of each corpus held out, by speaker, to judge by; 0 trains on all."},
    )
    validation_corpora: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Corpora, of those given, that are held out whole to judge by, in the place of a share of each: "
            "settings that are to serve languages never heard are chosen on one never heard."
        },
    )
    split_seed: int = field(default=0, metadata={"help": "Seed of the speaker split; the same in both stages."})
    views: int = field(
        default=1, metadata={"help": "Augmented views of each training clip, the clip itself included."}
    )
    augmentation: Literal["default", "low_resource"] = field(
        default="default",
        metadata={"help": "What views are made by; low_resource is that of the speaker-contrastive method."},
    )
    unlabelled: bool = field(
        default=False,
        metadata={"help": "Keep clips whose emotion is not of the label set or not known; they count in no emotion."},
    )
    labelled_languages: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Languages whose emotions are used, such as en; the clips of all others are kept without theirs. "
            "By default every language's are used."
        },
    )
    unlabelled_corpora: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Corpora whose emotions are not used, whatever their language, such as the one that is tested; "
            "their clips are kept without them."
        },
    )
    cache_dir: str = field(
        default="~/.cache/mser-llm", metadata={"help": "Where features are kept, so that each clip is encoded once."}
    )
    cache_gb: float = field(
        default=20.0, metadata={"help": "Bound on what is kept; the clips beyond are encoded each time. 0 keeps none."}
    )

    def __post_init__(self) -> None:
        check_numbers(self, {"cache_gb": NOT_NEGATIVE, "validation_fraction": SHARE, "views": AT_LEAST_ONE})
        both = sorted({*self.train_splits} & {*self.validation_splits})
        if both:
            raise ValueError(f"train_splits and validation_splits both name {', '.join(both)}; name each part once")
        if self.validation_splits and self.validation_corpora:
            raise ValueError("validation_splits and validation_corpora are both set; pass one of them")
        if not 0 <= self.min_clip_seconds < self.max_clip_seconds <= MAX_SECONDS:
            raise ValueError(
                f"min_clip_seconds is {self.min_clip_seconds:g} and max_clip_seconds {self.max_clip_seconds:g}; give "
                f"bounds that hold something, between 0 and {MAX_SECONDS:g}"
            )

    @property
    def validates(self) -> bool:
        """Whether anything is held out to judge by."""
        return bool(self.validation_corpora or self.validation_splits) or self.validation_fraction != 0


@dataclass
class MSERTrainingOptions:
    """
    The options that `MSERTrainingArguments` adds to transformers' `TrainingArguments`, or gives another default.

    > Parameters that control the loss

    Eqs. (2) and (3) of the paper: contrast + lambda * language-model loss. The paper gives none of w1, w2, m and
    lambda; these defaults are the simplest and were not tuned. `objectives` names other terms to use instead of the
    contrast or in addition to it, with their weights and options (docs/objectives.md).

    > Changed defaults

    Evaluation and saving once an epoch, the best checkpoint by unweighted accuracy (UA) on held-out speakers.
    """

    ce_weight: float = field(default=1.0, metadata={"help": "lambda, the weight of the language-model loss."})
    contrast_weight: float = field(default=1.0, metadata={"help": "Weight of Eq. (1); 0 trains without the contrast."})
    contrast_positive_weight: float = field(default=1.0, metadata={"help": "w1 of Eq. (1)."})
    contrast_negative_weight: float = field(default=1.0, metadata={"help": "w2 of Eq. (1)."})
    contrast_margin: float = field(default=0.0, metadata={"help": "Margin m of Eq. (1), a cosine."})
    contrast_reduction: Literal["mean", "sum"] = field(
        default="mean", metadata={"help": "Mean over the ordered pairs of a batch, or their sum as in the paper."}
    )
    objectives: dict | None = None
    without: list[str] = field(
        default_factory=list, metadata={"help": "Objectives of the recipe to leave out, for an ablation."}
    )
    objective_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Learning rate of what objectives train of their own; without, that of the model."},
    )
    balance: Literal["none", "emotion", "emotion_language", "speaker", "source"] = field(
        default="emotion_language",
        metadata={
            "help": "Batches with equal counts of emotions, of emotions and, within them, languages, or of speakers; "
            "or batches that are all of clips with a known emotion or all of clips without, drawn at random (source)."
        },
    )
    speakers_per_batch: int = field(default=16, metadata={"help": "Speakers of a batch that is balanced by speaker."})
    clips_per_speaker: int = field(default=4, metadata={"help": "Clips of each of them."})
    epoch_batches: int | None = field(
        default=None, metadata={"help": "Batches of an epoch; by default as many as show each clip once."}
    )
    clean_views: bool = field(
        default=True, metadata={"help": "Whether balanced batches draw the clips themselves beside their views."}
    )
    time_masks: int = field(default=0, metadata={"help": "Stretches of frames masked in each training clip."})
    time_width: int = field(default=20, metadata={"help": "Widest such stretch, in frames of the features."})
    channel_masks: int = field(default=0, metadata={"help": "Stretches of channels masked in each training clip."})
    channel_width: int = field(default=32, metadata={"help": "Widest such stretch, in channels."})
    average_from: float | None = field(
        default=None,
        metadata={"help": "Part of training, 0 to 1, from which on the weights are averaged; the mean is the model."},
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Evaluations without a better UA after which training stops."}
    )

    eval_strategy: Literal["no", "steps", "epoch"] = field(default="epoch", metadata={"help": "When to evaluate."})
    save_strategy: Literal["no", "steps", "epoch", "best"] = field(default="epoch", metadata={"help": "When to save."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept, the best beside them."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best checkpoint."})
    metric_for_best_model: str | None = field(default="UA", metadata={"help": "What best means."})
    logging_steps: float = field(default=10, metadata={"help": "Steps between two logs."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay false: rows are not columns."})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Early stopping goes on counting where it was; needed for an exact resume."}
    )
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Every trained weight is used in every step."}
    )
    resume: bool = field(
        default=True,
        metadata={
            "help": "Go on from the last whole checkpoint in output_dir; otherwise delete those that are there."
        },
    )
