# SPDX-License-Identifier: Apache-2.0
"""Write the data set card of a built folder, with numbers from the shards and the manifest."""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
from huggingface_hub import DatasetCard, DatasetCardData
from pyarrow import parquet

from mser_llm.data.languages import language_name
from mser_llm.data.licenses import Terms, card_license, source_terms, translator_terms
from mser_llm.data.m5ser_reader import read_manifest
from mser_llm.io.atomic_files import atomic_open
from mser_llm.io.packaged_folders import packaged_folder


CARD = "README.md"
ANY = "(any)"
_CELL = ["language", "emotion", "source_corpus"]
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M")
# Errors of a translator may be thousands of different sentences.
_MAX_REJECTS = 20


def write_card(out_dir: str | Path) -> None:
    """Write `README.md` of a built folder atomically, from its `manifest.json` and shards."""
    with atomic_open(Path(out_dir) / CARD) as file:
        file.write(render_card(out_dir))


def render_card(out_dir: str | Path, repo_id: str | None = None, recipe_only: bool = False) -> str:
    """Render the card of a built folder; its example names `repo_id`, by default the folder."""
    root = Path(out_dir)
    manifest = read_manifest(root)
    counts = ClipCounts(root, manifest)
    identity = manifest["config"]
    sources = [source_terms(name) for name in counts.sources]
    translator = translator_terms(identity["translator"])
    terms = [*sources, translator]
    # In the order of the label set, then others by name.
    order = {word: index for index, word in enumerate(identity.get("labels", ()))}
    emotions = sorted(
        {cell[1] for cell in counts.cells}, key=lambda word: (order.get(word or "", len(order)), word or "")
    )
    languages = list(dict.fromkeys(language for language, _, _ in counts.cells))
    clips, seconds = counts.of()
    name = f"M5SER by {identity['translator']}" + (" (recipe)" if recipe_only else "")
    data = DatasetCardData(
        pretty_name=name,
        language=languages,
        **card_license(terms),
        extra_gated_prompt=_conditions(terms),
        task_categories=["audio-classification"],
        size_categories=[_SIZES[max(0, len(str(max(clips - 1, 0))) - 3)]],
        multilinguality="multilingual" if len(languages) > 1 else "monolingual",
        annotations_creators="machine-generated",
        source_datasets=["extended"],
        tags=["speech-emotion-recognition", "speech", "synthetic", "mser", "m5ser"],
        configs=None if recipe_only else _configs(languages),
    )
    card = DatasetCard.from_template(
        data,
        template_path=str(packaged_folder("hub_cards") / "dataset_card.md.j2"),
        pretty_name=name,
        version=_version(),
        recipe_only=recipe_only,
        place=repo_id or root.absolute().name,
        languages=[{"code": code, "name": language_name(code)} for code in languages],
        emotions=[
            {
                "name": "all" if word == ANY else word or "none",
                "cells": [_cell(*counts.of(language=code, emotion=word)) for code in [*languages, ANY]],
            }
            for word in [*emotions, ANY]
        ],
        clips=clips,
        length=_length(seconds),
        speakers=counts.speakers,
        unknown_speakers=counts.unknown_speakers,
        sources=[{"terms": one, "cell": _cell(*counts.of(source=one.name))} for one in sources],
        source_language=language_name(identity.get("source_language", "en")),
        translator=translator,
        settings=_settings(identity),
        rejects=_rejects(counts.rejects),
        rejected=sum(counts.rejects.values()),
        binding=[one.title for one in terms if one.non_commercial],
        without_redistribution=[one.title for one in terms if not one.redistribution],
        manifest_hash=manifest["manifest_hash"],
        citations=[one.citation for one in sources if one.citation],
    )
    return str(card)


class ClipCounts:
    """Clips and seconds in the shards of a manifest by language, emotion and source corpus, and the rejects."""

    def __init__(self, root: Path, manifest: Mapping[str, Any]):
        files = [root / shard["path"] for shard in manifest["shards"]]
        rows = _read(files, [*_CELL, "speaker", "duration"])
        cells = rows.group_by(_CELL, use_threads=False).aggregate([("duration", "sum"), ([], "count_all")])
        self.cells: dict[tuple, tuple[int, float]] = {
            tuple(cell[name] for name in _CELL): (cell["count_all"], cell["duration_sum"] or 0.0)
            for cell in cells.to_pylist()
        }
        self.speakers = len(rows["speaker"].drop_null().unique())
        self.unknown_speakers = rows["speaker"].null_count
        self.sources = sorted({source for _, _, source in self.cells})
        rejects = _read(sorted((root / "rejects").glob("*.parquet")), ["stage", "reason"])
        groups = rejects.group_by(["stage", "reason"]).aggregate([([], "count_all")]).to_pylist()
        self.rejects = {(group["stage"], group["reason"]): group["count_all"] for group in groups}

    def of(self, language: str = ANY, emotion: str | None = ANY, source: str = ANY) -> tuple[int, float]:
        """Return the clips and seconds of a language, emotion and source, each of them or any."""
        wanted = (language, emotion, source)
        chosen = [
            amount
            for cell, amount in self.cells.items()
            if all(want in (ANY, own) for want, own in zip(wanted, cell, strict=True))
        ]
        return sum(clips for clips, _ in chosen), sum(seconds for _, seconds in chosen)


def _read(files: Iterable[Path], columns: list[str]) -> pa.Table:
    return pa.concat_tables(parquet.ParquetFile(file).read(columns) for file in files)


def _configs(languages: Iterable[str]) -> list[dict[str, Any]]:
    one_each = [(code, f"data/{code}/train-*.parquet") for code in languages]
    configs: list[dict[str, Any]] = [
        {"config_name": name, "data_files": [{"split": "train", "path": path}]}
        for name, path in [("default", "data/*/train-*.parquet"), *one_each]
    ]
    configs[0]["default"] = True
    return configs


def _conditions(terms: Iterable[Terms]) -> str | None:
    """Return the conditions of a gated repository."""
    bound = [f"{one.title}: {one.license}" for one in terms if one.non_commercial or not one.redistribution]
    return f"The terms of its sources and translator apply to you too. {'; '.join(bound)}." if bound else None


def _settings(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that determine the result, as shown on the card."""
    shown = {
        **{name: identity.get(name) for name in ("labels", "sample", "seed")},
        **identity.get("filters", {}),
        **identity.get("gates", {}),
        **{f"translator: {key}": value for key, value in identity.get("translator_fingerprint", {}).items()},
    }
    return {name: _format_value(value) for name, value in shown.items() if value is not None}


def _cell(clips: int, seconds: float) -> str:
    return f"{clips:,} ({_length(seconds)})" if clips else "0"


def _length(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_format_value(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_format_value, value))
    # A bar would end the table cell.
    return " ".join(str(value).split()).replace("|", "\\|")


def _rejects(rejects: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    ordered = sorted(rejects.items(), key=lambda item: (-item[1], item[0]))
    shown = [{"stage": stage, "reason": _format_value(reason), "clips": n} for (stage, reason), n in ordered]
    rest = [n for _, n in ordered[_MAX_REJECTS:]]
    if rest:
        others = {"stage": "any", "reason": f"{len(rest)} other reasons", "clips": sum(rest)}
        return [*shown[:_MAX_REJECTS], others]
    return shown


def _version() -> str:
    try:
        return version("mser-llm")
    except PackageNotFoundError:
        return "(a checkout)"
