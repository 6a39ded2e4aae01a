# SPDX-License-Identifier: Apache-2.0
"""The speech of every training stage that led to a model, and the terms it puts on the model.

The configuration carries it (`training_stages`), so it survives copies, the Hub and any number of fine-tunings.
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
    Languages, corpora and sources of training clips, JSON-ready.

    Returns:
        `languages`, clips by ISO 639-1 code; `corpora`; `sources`, one `{"corpus", "translator", "clips", "seconds"}`
        for each corpus and translator.
    """
    clips: Counter[tuple[str, str | None]] = Counter()
    seconds: defaultdict[tuple[str, str | None], float] = defaultdict(float)
    for clip in train:
        # A clip of M5SER is under the terms of its source and of its translator.
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
        config: of the model that is about to be trained, with its parent's stages.
        train: the stage's training clips.
        labels: its words.
        init_from: folder or Hub id of the parent. A folder's path is not recorded.
    """
    parent = None if init_from is None or Path(init_from).exists() else init_from
    stages = list(config.training_stages or [])
    if init_from is not None and not stages:
        stages = [{"parent": parent, "labels": [], "languages": {}, "corpora": [], "sources": None}]
    config.training_stages = [*stages, {"parent": parent, "labels": list(labels), **speech_record(train)}]


def stages_of_model(config: Mapping[str, Any], data: Mapping[str, Any]) -> list[Stage]:
    """
    The stages that led to a model, oldest first; empty where nothing is recorded.

    Args:
        config: what `config.json` holds.
        data: `data` of `train_results.json`, for a configuration without a record.
    """
    return config.get("training_stages") or ([data] if data.get("sources") else [])


def terms_of_stages(stages: Sequence[Stage]) -> list[Terms]:
    """Terms of every corpus and translator of the stages, each once. An unrecorded stage binds like unknown terms."""
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
    """Rows of a card's table of speech: `stage` (from 1), `title`, `license`, `clips`, `length`."""
    lines = []
    for number, stage in enumerate(stages, start=1):
        if stage["sources"] is None:
            unknown = {"license": "unknown", "clips": "unknown", "length": "unknown"}
            lines.append({"stage": number, "title": _unrecorded(stage.get("parent"))} | unknown)
        lines += [{"stage": number} | _source_line(source) for source in stage["sources"] or ()]
    return lines


def languages_of_stages(stages: Sequence[Stage]) -> list[str]:
    """ISO 639-1 codes of all stages."""
    return sorted({language for stage in stages for language in stage["languages"]})


def parents_of_stages(stages: Sequence[Stage]) -> list[str]:
    """Hub ids that the stages started from, the latest first."""
    return list(dict.fromkeys(stage["parent"] for stage in reversed(stages) if stage.get("parent") is not None))


def datasets_of_stages(stages: Sequence[Stage]) -> list[str]:
    """Hub ids of the corpora that are on the Hub, names of the others; a user's own folder is not named."""
    names = set()
    for stage in stages:
        for source in stage["sources"] or ():
            if source["corpus"] in CORPORA:
                place = re.search(r"huggingface\.co/datasets/([\w.-]+/[\w.-]+)", CORPORA[source["corpus"]].how_to_get)
                names.add(place[1] if place else source["corpus"])
        names |= {"m5ser"} & set(stage["corpora"])
    return sorted(names)


def is_synthetic(stages: Sequence[Stage]) -> bool:
    """Whether every stage used the project's own synthetic speech only."""
    sources = [source for stage in stages for source in stage["sources"] or [{"corpus": None}]]
    return bool(sources) and all(source["corpus"] == DEMO_CORPUS for source in sources)


def _source_line(source: Mapping[str, Any]) -> dict[str, Any]:
    terms, seconds = source_terms(source["corpus"]), source["seconds"]
    line = {"title": terms.title, "license": terms.license, "clips": source["clips"]}
    if source["translator"] is not None:
        by = translator_terms(source["translator"])
        line["title"] += f", by {by.title}"
        line["license"] = "; ".join(dict.fromkeys([terms.license, by.license]))
    return line | {"length": f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"}


def _unrecorded(parent: str | None) -> str:
    return f"the training of {parent or 'an earlier model'}, which is not recorded"
