# SPDX-License-Identifier: Apache-2.0
"""Record the training data of every stage that led to a model, and derive the model's license from it.

The record is in the configuration (`training_stages`), so it survives copies, the Hub and repeated fine-tuning.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mser_llm.data.clips import Clip
from mser_llm.data.corpora import CORPORA
from mser_llm.data.licenses import Terms, source_terms, translator_terms
from mser_llm.data.synthesis.demo_speech import DEMO_CORPUS


Stage = Mapping[str, Any]


def speech_record(train: Sequence[Clip]) -> dict[str, Any]:
    """
    Summarize the languages, corpora and sources of training clips, JSON-ready.

    Returns:
        `languages`: clips by ISO 639-1 code; `corpora`; `sources`: `{"corpus", "translator", "clips", "seconds"}` for
        each corpus and translator.
    """
    clips: Counter[tuple[str, str | None]] = Counter()
    seconds: defaultdict[tuple[str, str | None], float] = defaultdict(float)
    for clip in train:
        # A clip of M5SER is subject to the terms of its source and of its translator.
        source = (clip.row.get("source_corpus") or clip.row["corpus"], clip.row.get("translator"))
        clips[source] += 1
        seconds[source] += clip.seconds
    languages = Counter(clip.row["language"] for clip in train if clip.row["language"])
    return {
        "languages": dict(sorted(languages.items())),
        "corpora": sorted({clip.row["corpus"] for clip in train}),
        "sources": [
            {"corpus": source[0], "translator": source[1], "clips": clips[source], "seconds": round(length, 1)}
            for source, length in sorted(seconds.items(), key=lambda item: str(item[0]))
        ],
    }


def record_stage(config: Any, train: Sequence[Clip], labels: Sequence[str], init_from: str | None = None) -> None:
    """
    Append a stage to the `training_stages` of a configuration.

    Args:
        config: of the model that will be trained, with the stages of its parent.
        train: training clips of the stage.
        labels: of the stage.
        init_from: folder or Hub id of the parent. The path of a folder is not recorded.
    """
    parent = None if init_from is None or Path(init_from).exists() else init_from
    stages = list(config.training_stages or [])
    if init_from is not None and not stages:
        stages = [{"parent": parent, "labels": [], "languages": {}, "corpora": [], "sources": None}]
    config.training_stages = [*stages, {"parent": parent, "labels": list(labels), **speech_record(train)}]


def stages_of_model(config: Mapping[str, Any], data: Mapping[str, Any]) -> list[Stage]:
    """
    Return the stages that led to a model, oldest first; an empty list if nothing is recorded.

    Args:
        config: contents of `config.json`.
        data: `data` of `train_results.json`, used if the configuration has no record.
    """
    return config.get("training_stages") or ([data] if data.get("sources") else [])


def terms_of_stages(stages: Sequence[Stage]) -> list[Terms]:
    """Return the terms of every corpus and translator, each once; a stage without a record counts as unknown terms."""
    sources = [source for stage in stages for source in stage["sources"] or ()]
    corpora = {source["corpus"]: source_terms(source["corpus"]) for source in sources}
    translators = {source["translator"] for source in sources} - {None}
    unrecorded = [stage.get("parent") for stage in stages if stage["sources"] is None]
    return [
        *corpora.values(),
        *(translator_terms(name) for name in sorted(translators)),
        *(Terms(name or "", _unrecorded(name), "unknown", False, True) for name in dict.fromkeys(unrecorded)),
    ]


def source_table(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Return the rows of a card's table of training data: `stage` (from 1), `title`, `license`, `clips`, `length`."""
    rows = []
    for number, stage in enumerate(stages, start=1):
        if stage["sources"] is None:
            unknown = {"license": "unknown", "clips": "unknown", "length": "unknown"}
            rows.append({"stage": number, "title": _unrecorded(stage.get("parent"))} | unknown)
        rows += [{"stage": number} | _source_row(source) for source in stage["sources"] or ()]
    return rows


def languages_of_stages(stages: Sequence[Stage]) -> list[str]:
    """Return the ISO 639-1 codes of all stages."""
    return sorted({language for stage in stages for language in stage["languages"]})


def parents_of_stages(stages: Sequence[Stage]) -> list[str]:
    """Return the Hub ids that the stages started from, latest first."""
    return list(dict.fromkeys(stage["parent"] for stage in reversed(stages) if stage.get("parent") is not None))


def datasets_of_stages(stages: Sequence[Stage]) -> list[str]:
    """Return the Hub ids of corpora on the Hub and the names of others, without the user's own folder."""
    names = set()
    for stage in stages:
        for source in stage["sources"] or ():
            if source["corpus"] in CORPORA:
                hub_id = re.search(r"huggingface\.co/datasets/([\w.-]+/[\w.-]+)", CORPORA[source["corpus"]].how_to_get)
                names.add(hub_id[1] if hub_id else source["corpus"])
        names |= {"m5ser"} & set(stage["corpora"])
    return sorted(names)


def is_synthetic(stages: Sequence[Stage]) -> bool:
    """Whether every stage used only this project's synthetic speech."""
    sources = [source for stage in stages for source in stage["sources"] or [{"corpus": None}]]
    return bool(sources) and all(source["corpus"] == DEMO_CORPUS for source in sources)


def _source_row(source: Mapping[str, Any]) -> dict[str, Any]:
    terms, seconds = source_terms(source["corpus"]), source["seconds"]
    row = {"title": terms.title, "license": terms.license, "clips": source["clips"]}
    if source["translator"] is not None:
        by = translator_terms(source["translator"])
        row["title"] += f", by {by.title}"
        row["license"] = "; ".join(dict.fromkeys([terms.license, by.license]))
    return row | {"length": f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"}


def _unrecorded(parent: str | None) -> str:
    return f"the training of {parent or 'an earlier model'}, which is not recorded"
