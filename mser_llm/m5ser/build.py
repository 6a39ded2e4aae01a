# SPDX-License-Identifier: Apache-2.0
"""A build of M5SER from its configuration to its manifest."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger

from mser_llm.data.loaded_corpus import CorpusError
from mser_llm.data.m5ser_reader import read_manifest
from mser_llm.io.atomic_files import atomic_open
from mser_llm.m5ser.build_config import BuildConfig, differences
from mser_llm.m5ser.card import CARD, write_card
from mser_llm.m5ser.executors import executor_options, make_executor, mark_whole_shards, require_executor
from mser_llm.m5ser.filters import LengthFilter, QualityGates
from mser_llm.m5ser.manifest import derive_manifest, hash_of, write_manifest
from mser_llm.m5ser.progress import watched
from mser_llm.m5ser.quality import require_pitch
from mser_llm.m5ser.shards import Shard, builds_in, canonical, shards_of, unneeded
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
from mser_llm.m5ser.writing import WriteShard, full_disk_explained


CONFIG = "config.yaml"


class AnotherBuildError(ValueError):
    """The folder holds shards of another configuration; the message names what differs."""


@dataclass
class Build:
    """A build that is ready to run.

    Attributes:
        config: what was asked for.
        identity: what decides the result.
        shards: by rank.
        logs: folder of this configuration's logs, locks, markers and row lists.
    """

    config: BuildConfig
    identity: dict[str, Any]
    shards: list[Shard]
    logs: Path

    @property
    def text(self) -> str:
        """The identity as canonical JSON, which every shard carries."""
        return canonical(self.identity)

    @property
    def slices(self) -> dict[str, Path]:
        """By language the row list of its shards."""
        return {shard.language: self.logs / "sources" / f"{shard.language}.parquet" for shard in self.shards}

    @property
    def progress(self) -> Path:
        return self.logs / "progress"

    def pipeline(self) -> list[PipelineStep]:
        """read -> translate -> filter -> write."""
        return [
            ReadSources(self.shards, self.slices, self.config),
            Translate(self.shards, self.config, self.config.devices[0]),
            LengthFilter(self.config.min_seconds, self.config.kilobytes()),
            QualityGates(self.config),
            WriteShard(self.shards, self.text, self.logs / "locks", self.progress),
        ]


def build(
    config: BuildConfig, rows: Sequence[Mapping[str, Any]] | None = None, *, progress: bool = True
) -> dict[str, Any] | None:
    """Build what is missing of a corpus, and describe it.

    Args:
        config: see `BuildConfig`.
        rows: source rows that are already at hand, in the place of `config.corpora`.
        progress: shows bars.

    Returns:
        the manifest; None where the work was handed to Slurm, whose last job writes it.

    Raises:
        AnotherBuildError: the folder holds shards of another configuration.
        OutputFullError: no room left; finished shards stay.
        SourceGoneError: a corpus went away meanwhile; finished shards stay.
        WorkerDiedError: a worker was killed.
        TranslatorStartError: the translator cannot start.
        ValueError: the configuration or a corpus cannot be used.
    """
    prepared = prepare(config, rows)
    with full_disk_explained(Path(config.output_dir)):
        missing = mark_whole_shards(prepared.shards, prepared.text, prepared.logs)
        if missing:
            sizes = [size for path in prepared.slices.values() for size in slice_sizes(path)]
            with quiet_datatrove():
                executor = make_executor(config, prepared.pipeline(), len(prepared.shards), prepared.logs)
                if isinstance(executor, SlurmExecutor):
                    submit(prepared, executor)
                    return None
                with watched(prepared.progress, sizes, missing, progress):
                    executor.run()
        return finish(prepared, progress=progress)


def prepare(config: BuildConfig, rows: Sequence[Mapping[str, Any]] | None = None) -> Build:
    """List the sources, decide what the build is, and refuse a folder that holds another."""
    require_executor(config)
    if config.min_f0_correlation is not None:
        require_pitch()
    if rows is None:
        if not config.corpora:
            raise ValueError("no corpora to translate; give --corpora NAME=PATH …, for instance folder=my_clips")
        rows = read_sources(config.corpora)
    ordered = order_sources(rows, config.seed)
    folder = Path(config.output_dir).absolute()
    with closing(start_translator(config, config.devices[0])) as translator:
        identity = config.identity(describe_sources(ordered), translator.fingerprint())
        prepared = Build(config, identity, shards_of(config, folder), folder / "logs" / hash_of(identity)[:16])
        refuse_another(prepared, folder)
        if not all(shard.is_whole(prepared.text) for shard in prepared.shards):
            check_languages(translator, config, ordered)
    with full_disk_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_open(folder / CONFIG) as file:
            yaml.safe_dump(config.resolved(), file, sort_keys=False, allow_unicode=True)
        # Written anew each time: the same rows may lie elsewhere by now.
        for language, path in prepared.slices.items():
            drawn = ordered if language == config.source_language else draw_sources(ordered, config, language)
            write_slices(drawn, path, config.shards_per_language)
    return prepared


def refuse_another(prepared: Build, folder: Path) -> None:
    """Raise where the folder holds shards of another build, or Parquet files of none."""
    for path, identity in builds_in(folder):
        changed = differences(identity, prepared.identity)
        if changed:
            raise AnotherBuildError(
                f"{path}: was built with another configuration ({'; '.join(changed)}); give another --output_dir, "
                f"or remove {folder}"
            )
    foreign = unneeded(folder, prepared.shards)
    if foreign:
        raise AnotherBuildError(f"{foreign[0]}: is no shard of this build; give another --output_dir, or remove it")


def finish(prepared: Build, *, progress: bool = True) -> dict[str, Any]:
    """Write manifest and card from shards that are all whole; a card of the same corpus that is there stays.

    Raises:
        OSError: a shard is not whole.
    """
    missing = [shard.name for shard in prepared.shards if not shard.is_whole(prepared.text)]
    folder = prepared.shards[0].folder
    if missing:
        raise OSError(
            f"{folder}: {len(missing)} of {len(prepared.shards)} shards are missing, such as {missing[0]}; see the "
            f"logs in {prepared.logs} and run the same command again"
        )
    manifest = derive_manifest(prepared.shards, prepared.identity, progress=progress)
    described = _is_described(folder, manifest)
    write_manifest(manifest, folder)
    if not described:
        write_card(folder)
    return manifest


def _is_described(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a card of this very corpus is there, which somebody may have added to."""
    try:
        return (folder / CARD).is_file() and read_manifest(folder)["manifest_hash"] == manifest["manifest_hash"]
    except CorpusError:
        return False


class Finish(PipelineStep):
    """The last job of a build on Slurm.

    Args:
        prepared: the build whose shards the jobs before it wrote.
    """

    name = "Manifest and card"
    type = "M5SER"

    def __init__(self, prepared: Build):
        super().__init__()
        self.prepared = prepared

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Writes both; nothing comes out."""
        finish(self.prepared, progress=False)
        yield from ()


def submit(prepared: Build, executor: SlurmExecutor) -> None:
    """Hand the missing ranks to Slurm, and after them the job that writes manifest and card."""
    options = {**executor_options(prepared.config), "gpus_per_task": 0, "tasks_per_job": 1}
    options.pop("run_on_dependency_fail", None)
    last = SlurmExecutor(
        **options,
        pipeline=[Finish(prepared)],
        tasks=1,
        depends=executor,
        # It tells which shards are missing, where some are; waiting for ever for jobs that failed would tell nothing.
        run_on_dependency_fail=True,
        logging_dir=str(prepared.logs / "finish"),
        skip_completed=False,
    )
    last.run()


@contextmanager
def quiet_datatrove() -> Iterator[None]:
    """Keeps datatrove's log out of the terminal, which is the bar's; ranks log into files in their own processes."""
    logger.disable("datatrove")
    # Ray's and Slurm's processes come with the colours of a terminal otherwise.
    os.environ.setdefault("DATATROVE_COLORIZE_LOG_FILES", "0")
    try:
        yield
    finally:
        logger.enable("datatrove")
