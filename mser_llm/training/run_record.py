# SPDX-License-Identifier: Apache-2.0
"""Record which run an output folder belongs to, so that a rerun only resumes its own work."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mser_llm.data.clips import Clip
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.inference.model_types import model_types_with
from mser_llm.io.atomic_files import write_json
from mser_llm.io.errors import InputError
from mser_llm.io.hashing import file_sha256
from mser_llm.training.arguments import DataArguments, ModelArguments, MSERTrainingOptions
from mser_llm.training.checkpointing import last_checkpoint
from mser_llm.training.training_arguments import MSERTrainingArguments


RECORD = "run.json"
# The settings that determine the result, unlike paths, logging and the machine.
STOCK_SETTINGS = [
    *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "num_train_epochs", "max_steps"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "max_grad_norm", "seed", "data_seed"),
    *("optim", "adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay"),
    *("optim_args", "neftune_noise_alpha", "bf16", "fp16", "dataloader_drop_last"),
    *("eval_strategy", "eval_steps", "save_strategy", "save_steps", "load_best_model_at_end"),
    *("metric_for_best_model", "greater_is_better"),
]
MACHINE_SETTINGS = {
    *("corpora", "cache_dir", "cache_gb", "resume"),
    *("logging_steps", "save_total_limit", "ddp_find_unused_parameters"),
}
# How the digests in a record are named in an error.
_DIGESTS = {
    "clips": "other clips",
    "people": "clips of other speakers, languages or splits",
    "init_from_weights": "the weights in init_from were trained again",
}


def describe_run(
    model: ModelArguments,
    data: DataArguments,
    training: MSERTrainingArguments,
    clips: Sequence[Clip],
    num_processes: int,
) -> dict[str, Any]:
    """Return all settings and data that determine a run's result, as JSON-ready values."""
    own = {field.name for field in dataclasses.fields(MSERTrainingOptions)}
    stock = training.to_dict()
    settings = dataclasses.asdict(model) | dataclasses.asdict(data) | {name: stock[name] for name in STOCK_SETTINGS}
    settings |= {name: stock[name] for name in own}
    # `accelerate launch --mixed_precision` sets only an environment variable; bf16 and fp16 keep their defaults.
    settings["mixed_precision"] = "no" if training.bf16 or training.fp16 else training.mixed_precision
    aside = MACHINE_SETTINGS | ({name for name in settings if name.startswith("lora")} if not model.lora else set())
    # Unused settings are left out, so that a run recorded before they existed still matches.
    added: dict[str, Any] = {
        **dict.fromkeys(
            ("objectives", "objective_learning_rate", "epoch_batches", "optim_args", "neftune_noise_alpha")
        ),
        **dict.fromkeys(("unlabelled", "bf16", "fp16", "dataloader_drop_last"), False),
        **{name: [] for name in ("without", "labelled_languages", "validation_splits", "unlabelled_corpora")},
        "neftune_noise_alpha": None,
        "clean_views": True,
        "augmentation": "default",
        "backbone_dtype": "auto",
        "mixed_precision": "no",
    }
    aside |= {name for name, unused in added.items() if settings[name] == unused}
    aside |= set() if training.balance == "speaker" else {"speakers_per_batch", "clips_per_speaker"}
    aside |= {name for name in settings if model.model_type not in model_types_with(name)}
    aside |= {"model_type"} if model.model_type == "mser" else set()
    settings = {name: value for name, value in sorted(settings.items()) if name not in aside}
    keys = "\n".join(f"{clip.row['corpus']} {clip.row['id']} {clip.key} {clip.emotion}" for clip in clips)
    # These determine the split, the balance and the contrast.
    people = "\n".join(f"{clip.row['speaker']} {clip.row['language']} {clip.row['split']}" for clip in clips)
    data_used = {"clips": _digest(keys), "people": _digest(people), "num_processes": num_processes}
    if model.init_from is not None:
        data_used["init_from_weights"] = _weights(Path(model.init_from).expanduser())
    return json.loads(json.dumps(settings | data_used))


def finished_results(output_dir: str | Path, run: dict[str, Any]) -> dict[str, Any] | None:
    """Return the results of this run if it has finished and its weights still exist, else `None`."""
    folder = Path(output_dir)
    finished = _read(folder / RECORD) == run and any(folder.glob("*.safetensors"))
    return _read(folder / TRAIN_RESULTS) if finished else None


def acquire_run_dir(output_dir: str | Path, run: dict[str, Any], resume: bool) -> str | None:
    """
    Mark an output folder as this run's, and return the checkpoint to resume from; without `resume`, delete them.

    Raises:
        InputError: the folder contains checkpoints or the model of another run; names up to three settings that
            differ.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = last_checkpoint(folder)
    earlier, fix = _read(folder / RECORD), "pass another --output_dir, or --no_resume to overwrite it"
    if not resume:
        for old in folder.glob("checkpoint-*"):
            shutil.rmtree(old)
        checkpoint = None
    elif earlier is not None and earlier != run and (checkpoint is not None or (folder / TRAIN_RESULTS).exists()):
        settings = [name for name in sorted(earlier | run) if earlier.get(name) != run.get(name)]
        changes = [_DIGESTS.get(name, f"{name} {earlier.get(name)!r} -> {run.get(name)!r}") for name in settings]
        contents = "checkpoints" if checkpoint is not None else "the model"
        raise InputError(folder, f"contains {contents} of a run with other settings ({', '.join(changes[:3])})", fix)
    elif earlier is None and checkpoint is None and (folder / TRAIN_RESULTS).exists():
        raise InputError(folder, "contains a model without the record of its run", fix)
    (folder / TRAIN_RESULTS).unlink(missing_ok=True)
    write_json(folder / RECORD, run)
    return checkpoint


def recorded_batch_size(output_dir: str | Path) -> int | None:
    """Return the `per_device_train_batch_size` of the run in a folder, if it has checkpoints or results."""
    folder = Path(output_dir)
    if last_checkpoint(folder) is None and not (folder / TRAIN_RESULTS).exists():
        return None
    return (_read(folder / RECORD) or {}).get("per_device_train_batch_size")


def stopped_early(checkpoint: str) -> bool:
    """Return whether training had decided to stop when this checkpoint was saved."""
    state = _read(Path(checkpoint) / "trainer_state.json") or {}
    control = state.get("stateful_callbacks", {}).get("TrainerControl", {})
    return bool(control.get("args", {}).get("should_training_stop"))


def _weights(folder: Path) -> str | None:
    """Return a digest of the weights in a folder; `None` for a Hub id, whose revision identifies them."""
    digests = [file_sha256(file) for file in sorted(folder.glob("*.safetensors"))]
    return _digest("".join(digests)) if digests else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
