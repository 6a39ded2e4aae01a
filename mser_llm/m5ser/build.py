# SPDX-License-Identifier: Apache-2.0
"""Build M5SER from a configuration: shards, manifest and card."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger

from mser_llm.data.loaded_corpus import CorpusError
from mser_llm.data.m5ser_reader import MANIFEST, read_manifest
from mser_llm.io.atomic_files import atomic_open, write_json
from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.io.errors import InputError
from mser_llm.m5ser.build_config import BuildConfig, differences
from mser_llm.m5ser.card import CARD, write_card
from mser_llm.m5ser.errors import RUN_AGAIN, AnotherBuildError
from mser_llm.m5ser.executors import create_executor, executor_options, mark_complete_shards, require_executor
from mser_llm.m5ser.filters import LengthFilter, QualityFilter, require_pitch
from mser_llm.m5ser.manifest import derive_manifest, hash_of
from mser_llm.m5ser.progress import show_progress
from mser_llm.m5ser.shards import Shard, builds_in, canonical_json, foreign_files, shards_of
from mser_llm.m5ser.slurm_executor import SlurmExecutor
from mser_llm.m5ser.sources import (
    ReadSources,
    describe_sources,
    draw_sources,
    order_sources,
    read_sources,
    slice_sizes,
    write_slices,
)
from mser_llm.m5ser.translating import Translate, check_languages, start_translator
from mser_llm.m5ser.writing import WriteShard


CONFIG = "config.yaml"
MAKE_ROOM = f"make room there and {RUN_AGAIN}"


@dataclass
class Build:
    """A prepared build: its shards by rank, and the folder of its logs, locks, markers and row lists."""

    config: BuildConfig
    identity: dict[str, Any]
    shards: list[Shard]
    logs: Path

    @property
    def text(self) -> str:
        """The identity as canonical JSON, which every shard contains."""
        return canonical_json(self.identity)

    @property
    def slices(self) -> dict[str, Path]:
        """The row list of each language's shards."""
        return {shard.language: self.logs / "sources" / f"{shard.language}.parquet" for shard in self.shards}

    @property
    def progress(self) -> Path:
        return self.logs / "progress"

    def pipeline(self) -> list[PipelineStep]:
        """Return the steps: read, translate, filter, write."""
        return [
            ReadSources(self.shards, self.slices, self.config),
            Translate(self.shards, self.config, self.config.devices[0]),
            LengthFilter(self.config.min_seconds, self.config.kilobytes()),
            QualityFilter(self.config),
            WriteShard(self.shards, self.text, self.logs / "locks", self.progress),
        ]


def build(
    config: BuildConfig, rows: Sequence[Mapping[str, Any]] | None = None, *, progress: bool = True
) -> dict[str, Any] | None:
    """Build the missing shards of a corpus, its manifest and its card.

    Args:
        config: see `BuildConfig`.
        rows: source rows to use instead of reading `config.corpora`.
        progress: whether to show progress bars.

    Returns:
        The manifest; None if the work was submitted to Slurm, whose last job writes it.

    Raises:
        AnotherBuildError: the folder contains shards of another configuration.
        SourceGoneError: a corpus became unreachable.
        WorkerDiedError: a worker was killed.
        TranslatorStartError: the translator cannot start.
        OSError: the disk is full.
        ValueError: the configuration or a corpus cannot be used.
    """
    prepared = prepare(config, rows)
    with explain_disk_full(config.output_dir, MAKE_ROOM):
        missing = mark_complete_shards(prepared.shards, prepared.text, prepared.logs)
        if missing:
            sizes = [size for path in prepared.slices.values() for size in slice_sizes(path)]
            with quiet_datatrove():
                executor = create_executor(config, prepared.pipeline(), len(prepared.shards), prepared.logs)
                if isinstance(executor, SlurmExecutor):
                    submit(prepared, executor)
                    return None
                with show_progress(prepared.progress, sizes, missing, progress):
                    executor.run()
        return finish(prepared, progress=progress)


def prepare(config: BuildConfig, rows: Sequence[Mapping[str, Any]] | None = None) -> Build:
    """List the sources, determine the identity of the build, and reject a folder that contains another one."""
    require_executor(config)
    if config.min_f0_correlation is not None:
        require_pitch()
    if rows is None:
        if not config.corpora:
            raise InputError("corpora", "nothing to translate", "pass --corpora NAME=PATH, e.g. folder=my_clips")
        rows = read_sources(config.corpora)
    ordered = order_sources(rows, config.seed)
    folder = Path(config.output_dir).absolute()
    with closing(start_translator(config, config.devices[0])) as translator:
        identity = config.identity(describe_sources(ordered), translator.fingerprint())
        prepared = Build(config, identity, shards_of(config, folder), folder / "logs" / hash_of(identity)[:16])
        reject_other_builds(prepared, folder)
        if not all(shard.is_complete(prepared.text) for shard in prepared.shards):
            check_languages(translator, config, ordered)
    with explain_disk_full(folder, MAKE_ROOM):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_open(folder / CONFIG) as file:
            yaml.safe_dump(config.resolved(), file, sort_keys=False, allow_unicode=True)
        # Written every time, because the recordings may have moved.
        for language, path in prepared.slices.items():
            drawn = ordered if language == config.source_language else draw_sources(ordered, config, language)
            write_slices(drawn, path, config.shards_per_language)
    return prepared


def reject_other_builds(prepared: Build, folder: Path) -> None:
    """Raise an AnotherBuildError if the folder contains shards of another build, or unrelated Parquet files."""
    for path, identity in builds_in(folder):
        changed = differences(identity, prepared.identity)
        if changed:
            raise AnotherBuildError(
                path,
                f"built with another configuration ({'; '.join(changed)})",
                f"pass another --output_dir, or delete {folder}",
            )
    foreign = foreign_files(folder, prepared.shards)
    if foreign:
        raise AnotherBuildError(foreign[0], "not a shard of this build", "pass another --output_dir, or delete it")


def finish(prepared: Build, *, progress: bool = True) -> dict[str, Any]:
    """Write manifest and card once all shards are complete; an existing card of the same corpus is kept."""
    missing = [shard.name for shard in prepared.shards if not shard.is_complete(prepared.text)]
    folder = prepared.shards[0].folder
    if missing:
        raise OSError(
            f"{folder}: {len(missing)} of {len(prepared.shards)} shards are missing, such as {missing[0]}; see the "
            f"logs in {prepared.logs} and run the same command again"
        )
    manifest = derive_manifest(prepared.shards, prepared.identity, progress=progress)
    keep_card = False
    with suppress(CorpusError):
        # The user may have edited the card of this very corpus.
        keep_card = (folder / CARD).is_file() and read_manifest(folder)["manifest_hash"] == manifest["manifest_hash"]
    write_json(folder / MANIFEST, manifest)
    if not keep_card:
        write_card(folder)
    return manifest


class Finish(PipelineStep):
    """Write manifest and card: the last job of a build on Slurm."""

    name = "Manifest and card"
    type = "M5SER"

    def __init__(self, prepared: Build):
        super().__init__()
        self.prepared = prepared

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write both and yield nothing."""
        finish(self.prepared, progress=False)
        yield from ()


def submit(prepared: Build, executor: SlurmExecutor) -> None:
    """Submit the missing ranks to Slurm, followed by the job that writes manifest and card."""
    options = {**executor_options(prepared.config), "gpus_per_task": 0, "tasks_per_job": 1}
    options.pop("run_on_dependency_fail", None)
    last = SlurmExecutor(
        **options,
        pipeline=[Finish(prepared)],
        tasks=1,
        depends=executor,
        # So that it reports missing shards, instead of waiting forever for failed jobs.
        run_on_dependency_fail=True,
        logging_dir=str(prepared.logs / "finish"),
        skip_completed=False,
    )
    last.run()


@contextmanager
def quiet_datatrove() -> Iterator[None]:
    """Keep datatrove's log out of the terminal. The ranks log into files."""
    logger.disable("datatrove")
    # The processes of Ray and Slurm would write terminal colors otherwise.
    os.environ.setdefault("DATATROVE_COLORIZE_LOG_FILES", "0")
    try:
        yield
    finally:
        logger.enable("datatrove")
