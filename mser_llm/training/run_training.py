# SPDX-License-Identifier: Apache-2.0
"""Run one training: select clips, compute features, train, and keep the best checkpoint on held-out speakers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
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
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import DataArguments, ModelArguments
from mser_llm.training.batch_size import resolve_batch_size
from mser_llm.training.data.clip_selection import log_dataset_summary, prepare_data, without_rejected
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from mser_llm.training.fsdp import check_sharding, shards_weights
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
    """Collect what the objectives depend on: the size of the embeddings and the labels of the training clips."""

    def known(values: Iterable[str | None]) -> list[str]:
        return sorted({value for value in values if value is not None})

    return TrainingFacts(
        embedding_size,
        emotions=known(clip.emotion for clip in clips),
        languages=known(clip.row["language"] for clip in clips),
        speakers=known(clip.row["speaker"] for clip in clips),
    )


def train(
    rows: Sequence[Row],
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: MSERTrainingArguments,
) -> dict[str, Any]:
    """
    Train one stage and write the best model, its processor and `train_results.json` to `arguments.output_dir`.

    After a kill at any moment, a second call resumes from the last complete checkpoint, to the same result.

    Args:
        rows: of all corpora.
        model_arguments, data_arguments, arguments: the recipe; none of them is changed.

    Returns:
        The contents of `train_results.json`: validation metrics, loss history, clips, parameters.

    Raises:
        OutputFolderError: `output_dir` cannot be written to, or another training is writing to it.
        TrainingDivergedError: a loss, a gradient or a weight is not finite.
    """
    model_arguments = replace(model_arguments, init_from=expanded(model_arguments.init_from))
    arguments = resolve_recipe(model_arguments, data_arguments, arguments)
    check_machine(arguments)
    with run_lock(arguments.output_dir):
        return _train(rows, model_arguments, data_arguments, arguments)


def _train(
    rows: Sequence[Row],
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: MSERTrainingArguments,
) -> dict[str, Any]:
    """Train with checked arguments, in a locked output folder."""
    state = PartialState()
    set_seed(arguments.seed)
    labels = label_set(data_arguments.labels)
    model, processor = build_model(model_arguments, labels.words)
    # From here on, transformers would show a bar for every save of a few megabytes.
    disable_progress_bar()
    # FSDP moves the shards of the rest.
    (model.audio_tower if shards_weights(arguments) else model).to(arguments.device)
    data = prepare_data(rows, data_arguments)
    earlier = None if model_arguments.init_from is None else read_training_record(model_arguments.init_from)
    check_earlier_stages(model_arguments.init_from, data.validation, data_arguments.validation_splits)
    facts = training_facts(model.config.emotion_embedding_size, data.train)
    objectives = build_objectives(arguments.objective_section, facts)
    encoder = FeatureEncoder(model, processor)
    features = clip_features(encoder, data_arguments)
    jobs = [(clip, view) for clip in data.train for view in range(data_arguments.views)]
    jobs += [(clip, 0) for clip in data.validation]
    workers = arguments.dataloader_num_workers
    if encoder.encodes and workers > 0 and (uncached := len(jobs) - features.capacity(jobs)) > 0:
        raise InputError(
            "dataloader_num_workers",  # CUDA does not survive the fork
            f"{uncached} of {len(jobs)} clips and views exceed cache_gb, so {workers} workers would run the encoder",
            "raise cache_gb, or set dataloader_num_workers 0",
        )
    unreadable = features.prepare(jobs, state.process_index, state.num_processes)
    state.wait_for_everyone()
    features.store.refresh()
    data = without_rejected(data, gather_object(unreadable))
    if state.is_main_process:
        log_dataset_summary(data, labels)

    train_dataset = EmotionDataset(data.train, features, labels, data_arguments.views, facts)
    collator = EmotionCollator(processor, encoded=encoder.encodes)
    if arguments.auto_find_batch_size:
        arguments = resolve_batch_size(arguments, model, train_dataset, collator)
    clips = [*data.train, *data.validation]
    run = describe_run(model_arguments, data_arguments, arguments, clips, state.num_processes)
    results = finished_results(arguments.output_dir, run) if arguments.resume else None
    if results is not None:
        if state.is_main_process:
            print(f"{arguments.output_dir} already contains this run, finished")
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
        raise InputError(
            "per_device_train_batch_size",
            f"{len(data.train)} training clips do not fill one batch of {arguments.per_device_train_batch_size} on "
            f"{state.num_processes} processes",
            "lower it, or set dataloader_drop_last false",
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
) -> MSERTrainingArguments:
    """
    Check the settings against each other, whatever the clips and the machine.

    Returns `arguments` with the settings that follow from others. Raises an `InputError` for a contradiction.
    """
    init_from, output_dir = expanded(model_arguments.init_from), Path(arguments.output_dir).expanduser()
    if init_from is not None and Path(init_from).expanduser().resolve() == output_dir.resolve():
        raise InputError("output_dir, init_from", f"both are {init_from}", "pass another output_dir")
    if init_from is None and arguments.max_steps < 1 and arguments.num_train_epochs == 0:
        raise InputError(
            "num_train_epochs", "0 saves an untrained model", "pass at least 1, or init_from to copy a trained model"
        )
    if data_arguments.unlabelled and data_arguments.validates:
        raise InputError(
            "unlabelled",
            "unlabelled clips cannot validate",
            "set validation_fraction 0, and neither validation_corpora nor validation_splits",
        )
    if not data_arguments.validates:
        if arguments.load_best_model_at_end or arguments.early_stopping_patience is not None:
            raise InputError(
                "validation_fraction",
                "0 leaves no speakers to select a checkpoint by",
                "pass average_from (such as 0.3) or load_best_model_at_end false, and no early_stopping_patience",
            )
        arguments = copy(arguments)
        arguments.eval_strategy = IntervalStrategy.NO
    if find_model_type(model_arguments.model_type).has_language_model:
        _check_language_model(data_arguments, arguments)
    if shards_weights(arguments):
        check_sharding(model_arguments, arguments)
    return arguments


def _check_language_model(data_arguments: DataArguments, arguments: MSERTrainingArguments) -> None:
    """Reject what only classifiers can be trained with."""
    for name in ("unlabelled", "labelled_languages", "unlabelled_corpora"):
        if getattr(data_arguments, name):
            raise InputError(name, "a language model cannot be trained on clips without an emotion", "leave it out")
    for name in arguments.objective_section:
        if OBJECTIVES[name].classifiers_only:
            raise ObjectiveError(
                f"objectives: {name}",
                "it trains classifiers, and model_type is mser",
                "leave it out, or set model_type whisper_classifier",
            )


def check_machine(arguments: MSERTrainingArguments) -> None:
    """Reject fp16 on a CPU, where accelerate would silently train in full precision, and a missing reporter."""
    if arguments.mixed_precision == "fp16" and arguments.device.type == "cpu":
        raise InputError("fp16", "not supported on a CPU", "pass bf16, or leave it out")
    for reporter in get_reporting_integration_callbacks(arguments.report_to):
        try:
            reporter()
        except RuntimeError as error:
            raise InputError(f"report_to {', '.join(arguments.report_to)}", str(error)) from error


def check_earlier_stages(
    init_from: str | None, validation: Sequence[Clip], validation_splits: Sequence[str] = ()
) -> None:
    """
    Reject validation speakers or recordings that an earlier stage trained on.

    Clips of `validation_splits` are compared by recording only: publishers such as MELD's put the same speakers into
    several splits.
    """
    before = trained_on(init_from)
    by_speaker = [clip for clip in validation if published_part(clip.row)[1] not in validation_splits]
    leaked = sorted({clip.row["speaker"] for clip in by_speaker} & before["speakers"])
    if leaked:
        raise SpeakerLeakError(
            f"{init_from}: trained on validation speakers of this stage ({', '.join(leaked[:5])}"
            f"{', …' if len(leaked) > 5 else ''}); use the same labels, split_seed and validation_fraction"
        )
    copies = [clip.row["audio"]["path"] for clip in validation if trained_files([clip]) & before["files"]]
    if copies:
        raise SpeakerLeakError(
            f"{init_from}: trained on {len(copies)} validation clips of this stage, such as {copies[0]}; "
            "train on the new clips only, or hold nothing out (validation_fraction 0, average_from 0.3)"
        )


def trained_on(init_from: str | None) -> dict[str, set[str]]:
    """Return the `speakers` and `files` that a model and its earlier stages were trained on."""
    record = None if init_from is None else Path(init_from).expanduser() / TRAIN_RESULTS
    if record is None or not record.is_file():
        return {"speakers": set(), "files": set()}
    results = json.loads(record.read_text(encoding="utf-8"))
    return {name: set(results.get(name, ())) for name in ("speakers", "files")}


def clip_features(encoder: FeatureEncoder, arguments: DataArguments) -> ClipFeatures:
    """Build the features that a recipe asks for, with augmented views if it asks for any."""
    make = {"default": WaveformAugmenter, "low_resource": low_resource_augmenter}[arguments.augmentation]
    augmenter = make(seed=arguments.split_seed) if arguments.views > 1 else None
    return ClipFeatures(encoder, arguments.cache_dir, arguments.cache_gb, augmenter)
