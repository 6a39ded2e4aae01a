# SPDX-License-Identifier: Apache-2.0
"""One training run: rows to clips, clips to features, features to the checkpoint that is best on held-out speakers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from transformers import EarlyStoppingCallback, ProgressCallback, set_seed
from transformers.integrations import get_reporting_integration_callbacks
from transformers.trainer_utils import IntervalStrategy
from transformers.utils.logging import disable_progress_bar

from mser_llm.data.clips import Clip
from mser_llm.data.lineage import record_stage
from mser_llm.data.splits import SpeakerLeakError, published_part
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS, read_training_record
from mser_llm.hub.data_record import trained_files
from mser_llm.hub.model_card import write_model_card
from mser_llm.inference.feature_cache import ClipFeatures, FeatureEncoder
from mser_llm.inference.model_types import find_model_type
from mser_llm.io.atomic_files import write_json
from mser_llm.training.arguments import DataArguments, ModelArguments
from mser_llm.training.batch_size import resolve_batch_size
from mser_llm.training.data.clip_selection import log_dataset_summary, prepare_data, without_rejected
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from mser_llm.training.fsdp import check_sharding, move_to_device, shards_weights
from mser_llm.training.model_building import build_model, expanded
from mser_llm.training.objectives import OBJECTIVES, ObjectiveError, TrainingFacts, build_objectives
from mser_llm.training.progress import TrainingProgress
from mser_llm.training.run_lock import run_lock
from mser_llm.training.run_record import acquire_run_dir, describe_run, finished_results
from mser_llm.training.trainer import MSERTrainer
from mser_llm.training.training_arguments import MSERTrainingArguments
from processing_mser import label_set
from processing_mser.augmentation_mser import WaveformAugmenter, low_resource_augmenter


Row = Mapping[str, Any]


def training_facts(embedding_size: int, clips: Sequence[Clip]) -> TrainingFacts:
    """What the objectives have to know of the model and of the clips that are trained on."""

    def stated(values: Iterable[str | None]) -> list[str]:
        return sorted({value for value in values if value is not None})

    return TrainingFacts(
        embedding_size,
        emotions=stated(clip.emotion for clip in clips),
        languages=stated(clip.row["language"] for clip in clips),
        speakers=stated(clip.row["speaker"] for clip in clips),
    )


def train(
    rows: Sequence[Row],
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: MSERTrainingArguments,
) -> dict[str, Any]:
    """
    Trains one stage and writes the best model, its processor and `train_results.json` to `arguments.output_dir`.

    Killed at any moment and called again, it goes on from the last whole checkpoint to the same result.

    Args:
        rows: of all corpora.
        model_arguments, data_arguments, arguments: the recipe.

    Returns:
        What `train_results.json` holds: validation figures, loss history, clips, parameters.

    Raises:
        OutputFolderError: `output_dir` cannot be written to, or another training is writing to it.
        TrainingDivergedError: a loss, a gradient or a weight is not finite.
    """
    model_arguments = copy(model_arguments)
    model_arguments.init_from = expanded(model_arguments.init_from)
    resolve_recipe(model_arguments, data_arguments, arguments)
    check_reporting(arguments)
    check_precision(arguments)
    with run_lock(arguments.output_dir):
        return _train(rows, model_arguments, data_arguments, arguments)


def _train(
    rows: Sequence[Row],
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: MSERTrainingArguments,
) -> dict[str, Any]:
    """`train` with checked arguments, in an output folder of its own."""
    state = PartialState()
    set_seed(arguments.seed)
    labels = label_set(data_arguments.labels)
    model, processor = build_model(model_arguments, labels.words)
    # From here on the library's bars only flicker between the lines: one for every save of a few megabytes.
    disable_progress_bar()
    move_to_device(model, arguments)
    data = prepare_data(rows, data_arguments)
    earlier = None if model_arguments.init_from is None else read_training_record(model_arguments.init_from)
    check_earlier_stages(model_arguments.init_from, data.validation, data_arguments.validation_splits)
    facts = training_facts(model.config.emotion_embedding_size, data.train)
    objectives = build_objectives(arguments.objective_section, facts)
    encoder = FeatureEncoder(model, processor)
    features = clip_features(encoder, data_arguments)
    jobs = [(clip, view) for clip in data.train for view in range(data_arguments.views)]
    jobs += [(clip, 0) for clip in data.validation]
    if encoder.encodes:
        check_workers(arguments.dataloader_num_workers, len(jobs) - features.capacity(jobs), len(jobs))
    unreadable = features.prepare(jobs, state.process_index, state.num_processes)
    state.wait_for_everyone()
    features.cache.refresh()
    data = without_rejected(data, gather_object(unreadable))
    if state.is_main_process:
        log_dataset_summary(data, labels)

    train_dataset = EmotionDataset(data.train, features, labels, data_arguments.views, facts)
    collator = EmotionCollator(processor, encoded=encoder.encodes)
    if arguments.auto_find_batch_size:
        resolve_batch_size(arguments, model, train_dataset, collator)
    clips = [*data.train, *data.validation]
    run = describe_run(model_arguments, data_arguments, arguments, clips, state.num_processes)
    results = finished_results(arguments.output_dir, run) if arguments.resume else None
    if results is not None:
        if state.is_main_process:
            print(f"{arguments.output_dir} holds this very run, finished")
        return results
    record_stage(model.config, data.train, labels.words, model_arguments.init_from)
    checkpoint = acquire_run_dir(arguments.output_dir, run, arguments.resume) if state.is_main_process else None
    (checkpoint,) = broadcast_object_list([checkpoint])
    trainer = MSERTrainer(
        model=model,
        args=arguments,
        label_set=labels,
        objectives=objectives,
        processing_class=processor,
        train_dataset=train_dataset,
        eval_dataset=EmotionDataset(data.validation, features, labels) if data.validation else None,
        data_collator=collator,
    )
    if len(trainer.get_train_dataloader()) == 0:
        raise ValueError(
            f"{len(data.train)} training clips fill no batch of {arguments.per_device_train_batch_size} on "
            f"{state.num_processes} processes; lower per_device_train_batch_size, or set dataloader_drop_last false"
        )
    if not arguments.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(TrainingProgress)
    if arguments.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(arguments.early_stopping_patience))
    trainer.train_or_resume(checkpoint)
    results = trainer.results(earlier)
    results |= {
        **{name: sorted({*results[name], *before}) for name, before in trained_on(model_arguments.init_from).items()},
        "dropped": data.dropped,
        "other_splits": data.other_splits,
        "rejected": [rejection.reason for rejection in data.rejections],
    }
    trainer.save_model()
    if state.is_main_process:
        write_model_card(arguments.output_dir, results)
        write_json(Path(arguments.output_dir) / TRAIN_RESULTS, results)
    state.wait_for_everyone()
    return results


def resolve_recipe(
    model_arguments: ModelArguments, data_arguments: DataArguments, arguments: MSERTrainingArguments
) -> None:
    """
    Refuses settings that do not go together, whatever the clips and the machine, and sets what follows from others.

    Raises:
        ValueError: names the settings and what to do.
        ObjectiveError: an objective that is of classifiers.
    """
    check_places(expanded(model_arguments.init_from), arguments.output_dir)
    if data_arguments.unlabelled and data_arguments.validates:
        raise ValueError(
            "unlabelled clips cannot be judged by; give validation_fraction 0, and neither "
            "validation_corpora nor validation_splits"
        )
    check_length(model_arguments.init_from, arguments)
    if not data_arguments.validates:
        train_without_validation(arguments)
    if find_model_type(model_arguments.model_type).has_language_model:
        check_language_model(data_arguments, arguments)
    if shards_weights(arguments):
        check_sharding(model_arguments, arguments)


def check_language_model(data_arguments: DataArguments, arguments: MSERTrainingArguments) -> None:
    """
    Refuses what a language model cannot be trained by.

    Raises:
        ValueError: clips without an emotion.
        ObjectiveError: an objective that is of classifiers.
    """
    for name in ("unlabelled", "labelled_languages", "unlabelled_corpora"):
        if getattr(data_arguments, name):
            raise ValueError(f"{name} is of classifiers: a language model learns from words, which such clips lack")
    for name in arguments.objective_section:
        if OBJECTIVES[name].classifiers_only:
            raise ObjectiveError(
                f"objectives: {name}",
                "it trains classifiers, and model_type is mser",
                "leave it out, or set model_type whisper_classifier",
            )


def train_without_validation(arguments: MSERTrainingArguments) -> None:
    """
    Sets the arguments for training on every speaker, where no figure says when to stop.

    Raises:
        ValueError: the checkpoint was to be chosen by figures that there will not be.
    """
    if arguments.load_best_model_at_end or arguments.early_stopping_patience is not None:
        raise ValueError(
            "validation_fraction 0 leaves no speakers to choose a checkpoint by; give average_from (0.3, say), or "
            "load_best_model_at_end false, and no early_stopping_patience"
        )
    arguments.eval_strategy = IntervalStrategy.NO


def check_places(init_from: str | None, output_dir: str) -> None:
    """
    Refuses to write a model over the one that it goes on from: its record says what it heard.

    Raises:
        ValueError: both are one folder.
    """
    if init_from is not None and Path(init_from).expanduser().resolve() == Path(output_dir).expanduser().resolve():
        raise ValueError(
            f"output_dir and init_from are both {init_from}; give the model that is trained its own folder"
        )


def check_length(init_from: str | None, arguments: MSERTrainingArguments) -> None:
    """
    Refuse a training of no steps that has no trained weights to start from: its model would be random.

    Raises:
        ValueError: `num_train_epochs` is 0, without `max_steps` and `init_from`.
    """
    if init_from is None and arguments.max_steps < 1 and arguments.num_train_epochs == 0:
        raise ValueError(
            "num_train_epochs is 0, which saves a model that was never trained; pass at least 1, or init_from to copy "
            "a trained model"
        )


def check_workers(num_workers: int, not_kept: int, total: int) -> None:
    """
    Refuse data loader workers that would each run the encoder: CUDA does not survive the fork.

    Args:
        num_workers: `dataloader_num_workers`.
        not_kept, total: clips and views that the cache does not keep, of all.

    Raises:
        ValueError: there are both.
    """
    if num_workers > 0 and not_kept > 0:
        raise ValueError(
            f"dataloader_num_workers is {num_workers}, and {not_kept} of {total} clips and views exceed cache_gb, so "
            "the workers would run the encoder; raise cache_gb, or set dataloader_num_workers 0"
        )


def check_reporting(arguments: MSERTrainingArguments) -> None:
    """
    Refuses what `report_to` asks for and is not installed, before anything is read.

    Raises:
        ValueError: names it.
    """
    for reporter in get_reporting_integration_callbacks(arguments.report_to):
        try:
            reporter()
        except RuntimeError as error:
            raise ValueError(f"report_to is {', '.join(arguments.report_to)}: {error}") from error


def check_precision(arguments: MSERTrainingArguments) -> None:
    """
    Refuses half precision where accelerate would train in full precision without a word.

    Raises:
        ValueError: fp16 on a CPU.
    """
    if arguments.mixed_precision == "fp16" and arguments.device.type == "cpu":
        raise ValueError("fp16 needs a GPU, and this trains on the CPU; give bf16, or leave fp16 out")


def check_earlier_stages(
    init_from: str | None, validation: Sequence[Clip], validation_splits: Sequence[str] = ()
) -> None:
    """
    Refuses to judge a model by speakers, or by recordings, that an earlier stage trained on.

    Clips of `validation_splits` are compared by recording alone: publishers such as MELD's put the same speakers into
    several parts of their division.

    Raises:
        SpeakerLeakError: names the speakers, or a recording.
    """
    before = trained_on(init_from)
    divided = [clip for clip in validation if published_part(clip.row)[1] not in validation_splits]
    leaked = sorted({clip.row["speaker"] for clip in divided} & before["speakers"])
    if leaked:
        raise SpeakerLeakError(
            f"{init_from} was trained on speakers who are to validate this stage ({', '.join(leaked[:5])}"
            f"{', …' if len(leaked) > 5 else ''}); give all stages the same labels, split_seed and "
            "validation_fraction"
        )
    copies = [clip.row["audio"]["path"] for clip in validation if trained_files([clip]) & before["files"]]
    if copies:
        raise SpeakerLeakError(
            f"{init_from} was trained on {len(copies)} clips that are to validate this stage, such as {copies[0]}; "
            "train on the new clips alone, or hold nothing out (validation_fraction 0, average_from 0.3)"
        )


def trained_on(init_from: str | None) -> dict[str, set[str]]:
    """The `speakers` and `files` of all stages that led to a model, those apart that only judged it."""
    record = None if init_from is None else Path(init_from).expanduser() / TRAIN_RESULTS
    found = record is not None and record.is_file()
    results = json.loads(record.read_text(encoding="utf-8")) if record and found else {"speakers": ()}
    # What was trained before files were recorded has none.
    return {"speakers": set(results["speakers"]), "files": set(results.get("files", ()))}


def clip_features(encoder: FeatureEncoder, arguments: DataArguments) -> ClipFeatures:
    """The features that a recipe asks for, with views where it asks for any."""
    make = {"default": WaveformAugmenter, "low_resource": low_resource_augmenter}[arguments.augmentation]
    augmenter = make(seed=arguments.split_seed) if arguments.views > 1 else None
    return ClipFeatures(encoder, arguments.cache_dir, arguments.cache_gb, augmenter)
