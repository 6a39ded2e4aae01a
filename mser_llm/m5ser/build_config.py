# SPDX-License-Identifier: Apache-2.0
"""Configuration of an M5SER build, and its identity: the part that determines the result."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mser_llm.data.read_corpus import resolve_corpus_name
from mser_llm.io.errors import InputError
from processing_mser.emotions_mser import label_set


FORMAT = 3
"""Incremented whenever the same configuration would give other shards."""
_DEFAULT = "default"


@dataclass
class BuildConfig:
    """Arguments of a build. `configs/m5ser/*.yaml` are its recipes; every field except the mappings is a flag too."""

    config: str | None = field(
        default=None,
        metadata={"positional": True, "metavar": "CONFIG", "help": "recipe, such as configs/m5ser/demo.yaml"},
    )
    corpora: list[str] = field(default_factory=list, metadata={"help": "NAME=PATH of each source corpus"})
    output_dir: str = field(default="runs/m5ser", metadata={"help": "folder of the corpus; created, or resumed"})
    source_language: str = field(default="en", metadata={"help": "language of the sources, ISO 639-1"})
    languages: list[str] = field(
        default_factory=lambda: ["fr", "de", "it", "zh", "es"], metadata={"help": "target languages, ISO 639-1"}
    )
    include_source: bool = field(
        default=True, metadata={"help": "add the sources to the corpus, as a configuration of their own"}
    )
    labels: list[str] = field(
        default_factory=lambda: ["seven", "four"],
        metadata={
            "help": 'label sets of the clips to translate: "seven", "four", or labels as in "happy,sad"; each clip '
            "keeps the emotion of its source corpus"
        },
    )
    sample: int | None = field(
        default=None,
        metadata={"help": "sources to translate into each language, drawn balanced over emotions (default: all)"},
    )
    seed: int = field(default=0, metadata={"help": "seed of the draw and of the row order"})

    translator: str = field(
        default="espeak", metadata={"help": "espeak, seamless_m4t_v2, seamless_expressive, or MODULE:CLASS"}
    )
    translator_options: dict = field(default_factory=dict)
    devices: list[str] = field(
        default_factory=lambda: ["cpu"],
        metadata={"help": "cpu, cuda:0 and so on, assigned to the workers in turn"},
    )
    batch_size: int = field(default=8, metadata={"help": "clips per batch of the translator"})
    seconds_per_batch: float = field(
        default=300.0,
        metadata={"help": "time limit; a slower translator is restarted and the clip at fault rejected"},
    )

    min_seconds: float = field(default=0.5, metadata={"help": "reject shorter translations"})
    min_kilobytes: list[str] = field(
        default_factory=lambda: ["iemocap=20", "meld=20", "default=50"],
        metadata={
            "help": "CORPUS=KB: reject smaller translations, measured as 16-bit PCM at 16 kHz with 1 KB = 1000 bytes "
            "(50 KB are 1.56 s); default= is for all other corpora"
        },
    )
    max_clipping: float | None = field(default=None, metadata={"help": "maximum fraction of samples at full scale"})
    max_silence: float | None = field(default=None, metadata={"help": "maximum fraction of silent frames"})
    duration_ratio: list[float] | None = field(
        default=None, metadata={"help": "minimum and maximum duration, as a multiple of the source's"}
    )
    min_f0_correlation: float | None = field(
        default=None, metadata={"help": "minimum correlation of the F0 contour with the source's"}
    )

    shards_per_language: int = field(default=1, metadata={"help": "files per language, which are the units of work"})
    executor: Literal["local", "slurm", "ray"] = field(default="local", metadata={"help": "where the build runs"})
    workers: int = field(default=1, metadata={"help": "number of shards built at the same time"})
    slurm: dict = field(default_factory=dict)
    """Arguments of datatrove's SlurmPipelineExecutor: partition, time, gpus_per_task and so on."""
    ray: dict = field(default_factory=dict)
    """Arguments of [`mser_llm.m5ser.ray_executor.RayExecutor`]."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "shards_per_language", "workers"):
            self._require(name, getattr(self, name) >= 1, "pass at least 1")
        self._require("sample", self.sample is None or self.sample >= 1, "pass at least 1, or omit it")
        self._require("min_seconds", math.isfinite(self.min_seconds) and self.min_seconds >= 0, "pass a number >= 0")
        self._require("seconds_per_batch", self.seconds_per_batch > 0, "pass a number above 0")
        for name, low in (("max_clipping", 0), ("max_silence", 0), ("min_f0_correlation", -1)):
            value = getattr(self, name)
            self._require(name, value is None or low <= value <= 1, f"pass a number from {low} to 1")
        ratio = self.duration_ratio
        self._require(
            "duration_ratio",
            ratio is None or (len(ratio) == 2 and 0 <= ratio[0] <= ratio[1]),
            "pass the minimum and the maximum",
        )
        self._require("languages", bool(self.languages), "pass at least one, such as fr")
        for language in self.all_languages:
            valid = language.isascii() and language.isalpha()
            self._require("languages", valid, "pass ISO 639-1 codes, such as fr", language)
        if self.source_language in self.languages:
            raise InputError(
                f"languages {self.source_language}",
                "the sources speak it already",
                "leave it out, and pass include_source to add the sources to the corpus",
            )
        duplicates = sorted({one for one in self.languages if self.languages.count(one) > 1})
        if duplicates:
            raise InputError(f"languages {' '.join(duplicates)}", "listed more than once", "list each language once")
        self._require("devices", bool(self.devices), "pass cpu, or cuda:0 and so on")
        self.kilobytes()
        fix = "pass a list of label sets, such as seven four"
        self._require("labels", bool(self.labels) and not isinstance(self.labels, str), fix)
        self.counted_emotions()

    def _require(self, name: str, valid: bool, fix: str, value: Any = None) -> None:
        if not valid:
            raise InputError(f"{name} {getattr(self, name) if value is None else value}", "invalid value", fix)

    @property
    def all_languages(self) -> list[str]:
        """The configurations of the corpus, in build order."""
        return [*([self.source_language] if self.include_source else []), *self.languages]

    def kilobytes(self) -> dict[str, float]:
        """Return `min_kilobytes` by corpus name, with `default` for all others."""
        bounds: dict[str, float] = {}
        for entry in self.min_kilobytes:
            corpus, equals, number = (part.strip() for part in entry.partition("="))
            try:
                bound = float(number)
            except ValueError:
                bound = math.nan
            if equals and corpus and corpus != _DEFAULT:
                corpus = resolve_corpus_name(corpus)
            if not equals or not corpus or not bound >= 0 or corpus in bounds:
                raise InputError(f"min_kilobytes {entry}", "invalid value", "write CORPUS=KB, each corpus once")
            bounds[corpus] = bound
        if _DEFAULT not in bounds:
            raise InputError("min_kilobytes", "no bound for other corpora", "add default=50, or default=0")
        return bounds

    def counted_emotions(self) -> dict[str, str]:
        """Map each source emotion to translate to the label that it counts as when a sample is balanced.

        The first label set that has the emotion decides (excited counts as happy in `four`).
        """
        counted: dict[str, str] = {}
        for labels in map(label_set, self.labels):
            for emotion in (*labels, *labels.merges):
                counted.setdefault(emotion, labels.map(emotion) or emotion)
        return counted

    def resolved(self) -> dict[str, Any]:
        """Return the configuration as a recipe for the same build."""
        return {name: value for name, value in asdict(self).items() if name != "config"}

    def identity(self, sources: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that determines the shards: no path, no machine, no number of workers."""
        return {
            "format": FORMAT,
            "corpora": dict(sources),
            "source_language": self.source_language,
            "languages": self.languages,
            "include_source": self.include_source,
            "labels": list(self.counted_emotions()),
            "balanced_as": {emotion: word for emotion, word in self.counted_emotions().items() if emotion != word},
            "sample": self.sample,
            "seed": self.seed,
            "translator": self.translator,
            "translator_fingerprint": dict(fingerprint),
            "batch_size": self.batch_size,
            "filters": {"min_seconds": self.min_seconds, "min_kilobytes": self.kilobytes()},
            "gates": {
                "max_clipping": self.max_clipping,
                "max_silence": self.max_silence,
                "duration_ratio": self.duration_ratio,
                "min_f0_correlation": self.min_f0_correlation,
            },
            "shards_per_language": self.shards_per_language,
        }


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """List the differences of two identities, as `key: old -> new`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: list[str] = []
        for key in dict.fromkeys([*old, *new]):
            found += differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
        return found
    if isinstance(old, Sequence) and isinstance(new, Sequence) and list(old) == list(new):
        return []
    before, after = (text if len(text) <= 60 else f"{text[:59]}…" for text in (str(old), str(new)))
    return [] if old == new else [f"{name}: {before} -> {after}"]
