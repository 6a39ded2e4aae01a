# SPDX-License-Identifier: Apache-2.0
"""One training run: rows to clips, clips to features, features to the checkpoint that is best on held-out speakers."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from transformers import EarlyStoppingCallback, ProgressCallback, set_seed
from transformers.trainer_utils import IntervalStrategy
from transformers.utils.logging import disable_progress_bar

from data_mser.m5ser.schema import M5SER_CORPUS
from data_mser.splits import SpeakerLeakError, recording_names, speaker_split
from data_mser.whole_files import whole_file
from evaluation_mser.protocols import read_training_record
from processing_mser import LabelSet, label_set
from processing_mser.augmentation_mser import WaveformAugmenter, low_resource_augmenter

from .arguments import DataArguments, ModelArguments, MSERTrainingArguments
from .clips import Clip, Rejection, index_clips
from .dataset import ClipFeatures, EmotionCollator, EmotionDataset
from .feature_cache import FeatureEncoder
from .model_building import build_model
from .model_card import write_model_card
from .objectives import TrainingFacts, build_objectives
from .progress import TrainingProgress
from .run_record import RESULTS, claim, describe_run, finished_results
from .trainer import MSERTrainer


ENGLISH = "en"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class TrainingData:
    """
    What a run trains on and what it is judged by.

    Attributes:
        train, validation: clips; no speaker is in both. Without a validation fraction all are in the first.
        dropped: rows outside the label set, by emotion.
        rejections: rows whose audio cannot be used.
    """

    train: list[Clip]
    validation: list[Clip]
    dropped: dict[str, int]
    rejections: list[Rejection]


def stage_rows(rows: Sequence[Row], stage: str, mix: str = "add") -> list[Row]:
    """
    The rows of a stage: one function, two data mixes.

    Args:
        rows: of all corpora.
        stage: `"1"` English; `"2"` the other languages, with or in place of the English; `"joint"` all.
        mix: of stage 2, `"add"` or `"replace"`.
    """
    if stage == "1":
        return [row for row in rows if row["language"] == ENGLISH]
    if stage == "2" and mix == "replace":
        return [row for row in rows if row["language"] != ENGLISH]
    return list(rows)


def prepare_data(rows: Sequence[Row], arguments: DataArguments) -> TrainingData:
    """
    Rows of a stage to clips, split by speaker.

    Each corpus is split for itself, and before the stage's rows are chosen, so that a speaker held out in stage 1 is
    still held out in stage 2, whatever other corpora are given there. M5SER comes last: a translation goes where its
    source's speaker went.

    Raises:
        ValueError: nothing is left to train on or to validate on.
    """
    labels = label_set(arguments.labels)
    labelled = [row for row in rows if arguments.unlabelled or labels.map(row["emotion"]) is not None]
    dropped = Counter(
        str(row["emotion"]) for row in rows if not arguments.unlabelled and labels.map(row["emotion"]) is None
    )
    if arguments.unlabelled and arguments.validation_fraction != 0:
        raise ValueError("unlabelled clips cannot be judged by; give validation_fraction 0")
    if not labelled:
        raise ValueError(f"none of the {len(rows)} rows has an emotion of the label set {', '.join(labels.words)}")
    parts: dict[str, list[Row]] = {"training": []}
    if arguments.validation_fraction != 0:
        parts["validation"] = []
    corpora = sorted(dict.fromkeys(row["corpus"] for row in labelled), key=lambda corpus: corpus == M5SER_CORPUS)
    sides: dict[str, str] = {}
    for corpus in corpora:
        rows_of_it = [row for row in labelled if row["corpus"] == corpus]
        own = [row for row in rows_of_it if _voices(row)[0] not in sides]
        # A single voice cannot be divided; the other corpora validate.
        single = len(corpora) > 1 and len({row["speaker"] or row["id"] for row in own}) == 1
        if own and not single and "validation" in parts:
            held = speaker_split(own, arguments.validation_fraction, arguments.split_seed)
            placed = [(row, name) for name, side in zip(parts, held, strict=True) for row in side]
            sides |= {voice: name for row, name in placed for voice in _voices(row)}
        for row in rows_of_it:
            parts[sides.get(_voices(row)[0], "training")].append(row)
    clips: dict[str, list[Clip]] = {"training": [], "validation": []}
    rejections: list[Rejection] = []
    for name, part in parts.items():
        chosen = stage_rows(part, arguments.stage, arguments.stage2_mix)
        if not chosen:
            languages = sorted({str(row["language"]) for row in part})
            raise ValueError(
                f"stage {arguments.stage} finds no {name} rows; the corpora given are in {', '.join(languages)}, "
                f"and stage 1 needs English ({ENGLISH})"
            )
        clips[name], unusable = index_clips(chosen, labels)
        rejections += unusable
    return TrainingData(clips["training"], clips["validation"], dict(dropped), rejections)


def _voices(row: Row) -> tuple[str, ...]:
    """The speaker, or of a clip without one the names of its recording, which its translations share."""
    return (row["speaker"],) if row["speaker"] is not None else recording_names(row)


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
    """
    state = PartialState()
    if data_arguments.validation_fraction == 0:
        train_without_validation(arguments)
    set_seed(arguments.seed)
    labels = label_set(data_arguments.labels)
    if data_arguments.unlabelled and model_arguments.model_type == "mser":
        raise ValueError("unlabelled is of classifiers: a language model learns from words, which such clips lack")
    model, processor = build_model(model_arguments, labels.words)
    # From here on the library's bars only flicker between the lines: one for every save of a few megabytes.
    disable_progress_bar()
    model.to(arguments.device)
    data = prepare_data(rows, data_arguments)
    check_earlier_stage(model_arguments.init_from, data.validation)
    facts = training_facts(model.config.emotion_embedding_size, data.train)
    objectives = build_objectives(arguments.objective_section, facts)
    earlier = None if model_arguments.init_from is None else read_training_record(model_arguments.init_from)
    encoder = FeatureEncoder(model, processor)
    features = clip_features(encoder, data_arguments)
    jobs = [(clip, view) for clip in data.train for view in range(data_arguments.views)]
    jobs += [(clip, 0) for clip in data.validation]
    unreadable = features.prepare(jobs, state.process_index, state.num_processes)
    state.wait_for_everyone()
    features.cache.refresh()
    data = without(data, gather_object(unreadable))
    if state.is_main_process:
        announce(data, labels)

    clips = [*data.train, *data.validation]
    run = describe_run(model_arguments, data_arguments, arguments, clips, state.num_processes)
    results = finished_results(arguments.output_dir, run) if arguments.resume else None
    if results is not None:
        if state.is_main_process:
            print(f"{arguments.output_dir} holds this very run, finished")
        return results
    checkpoint = claim(arguments.output_dir, run, arguments.resume) if state.is_main_process else None
    (checkpoint,) = broadcast_object_list([checkpoint])
    trainer = MSERTrainer(
        model=model,
        args=arguments,
        label_set=labels,
        objectives=objectives,
        processing_class=processor,
        train_dataset=EmotionDataset(data.train, features, labels, data_arguments.views, facts),
        eval_dataset=EmotionDataset(data.validation, features, labels) if data.validation else None,
        data_collator=EmotionCollator(processor, encoded=encoder.encodes),
    )
    if not arguments.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(TrainingProgress)
    if arguments.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(arguments.early_stopping_patience))
    trainer.train_or_resume(checkpoint)
    results = trainer.results(earlier) | {
        "dropped": data.dropped,
        "rejected": [rejection.reason for rejection in data.rejections],
    }
    trainer.save_model()
    if state.is_main_process:
        write_model_card(arguments.output_dir, results)
        with whole_file(Path(arguments.output_dir) / RESULTS) as file:
            json.dump(results, file, indent=2)
    state.wait_for_everyone()
    return results


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


def check_earlier_stage(init_from: str | None, validation: Sequence[Clip]) -> None:
    """
    Refuses to judge a model by speakers whom an earlier stage trained on.

    Raises:
        SpeakerLeakError: names the speakers.
    """
    record = None if init_from is None else Path(init_from) / RESULTS
    if record is None or not record.is_file():
        return
    earlier = json.loads(record.read_text(encoding="utf-8"))["speakers"]
    leaked = sorted({clip.row["speaker"] for clip in validation} & set(earlier))
    if leaked:
        raise SpeakerLeakError(
            f"{init_from} was trained on speakers who are to validate this stage ({', '.join(leaked[:5])}"
            f"{', …' if len(leaked) > 5 else ''}); give both stages the same labels, split_seed and "
            "validation_fraction"
        )


def clip_features(encoder: FeatureEncoder, arguments: DataArguments) -> ClipFeatures:
    """The features that a recipe asks for, with views where it asks for any."""
    make = {"default": WaveformAugmenter, "low_resource": low_resource_augmenter}[arguments.augmentation]
    augmenter = make(seed=arguments.split_seed) if arguments.views > 1 else None
    return ClipFeatures(encoder, arguments.cache_dir, arguments.cache_gb, augmenter)


def without(data: TrainingData, rejections: Sequence[Rejection]) -> TrainingData:
    """The data less the rows that turned out unreadable."""
    # A clip is found unreadable once for each of its views.
    unusable = {(rejection.row["corpus"], rejection.row["id"]): rejection for rejection in rejections}

    def usable(clips: list[Clip]) -> list[Clip]:
        return [clip for clip in clips if (clip.row["corpus"], clip.row["id"]) not in unusable]

    train, validation = usable(data.train), usable(data.validation)
    for name, left, before in (("training", train, data.train), ("validation", validation, data.validation)):
        if not left and (before or name == "training"):
            reason = [*rejections, *data.rejections][0].reason
            raise ValueError(f"no clip can be read for {name}; the first: {reason}")
    return TrainingData(train, validation, data.dropped, [*data.rejections, *unusable.values()])


def announce(data: TrainingData, labels: LabelSet) -> None:
    """Prints what is trained on, what was dropped and what was rejected."""
    for name, clips in (("training", data.train), ("validation", data.validation)):
        if not clips:
            continue
        counts = Counter(clip.emotion for clip in clips)
        languages = Counter(str(clip.row["language"]) for clip in clips)
        speakers = len({clip.row["speaker"] for clip in clips})
        emotions = ", ".join(f"{word} {counts[word]}" for word in labels.words)
        emotions += f", without one of these {counts[None]}" if counts[None] else ""
        print(f"{len(clips)} {name} clips of {speakers} speakers: {emotions}; {dict(languages)}")
    if data.dropped:
        print(f"Dropped, being outside the label set: {data.dropped}")
    for rejection in data.rejections[:10]:
        print(f"Rejected: {rejection.reason}")
    if len(data.rejections) > 10:
        print(f"… and {len(data.rejections) - 10} more, all in train_results.json")
