# SPDX-License-Identifier: Apache-2.0
"""What a build of M5SER is asked for, and the part of it that decides the result."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from processing_mser.emotions_mser import label_set


FORMAT = 3
"""Raised whenever the same configuration would give other shards."""
_DEFAULT = "default"


@dataclass
class BuildConfig:
    """A build. Its recipes are `configs/m5ser/*.yaml`; every field but a section is a flag too."""

    config: str | None = field(
        default=None,
        metadata={"positional": True, "metavar": "CONFIG", "help": "recipe, such as configs/m5ser/demo.yaml"},
    )
    corpora: list[str] = field(
        default_factory=list, metadata={"help": "NAME=PATH of each source corpus; no recording is opened to list them"}
    )
    output_dir: str = field(default="runs/m5ser", metadata={"help": "folder of the corpus; made, or gone on with"})
    source_language: str = field(default="en", metadata={"help": "what the sources speak, ISO 639-1"})
    languages: list[str] = field(
        default_factory=lambda: ["fr", "de", "it", "zh", "es"], metadata={"help": "to translate into, ISO 639-1"}
    )
    include_source: bool = field(
        default=True, metadata={"help": "whether the sources become a configuration of the corpus too"}
    )
    labels: list[str] = field(
        default_factory=lambda: ["seven", "four"],
        metadata={
            "help": 'label sets whose clips are translated, each "seven", "four", or words as in "happy,sad"; every '
            "clip keeps the emotion of its source corpus, and training chooses and merges"
        },
    )
    sample: int | None = field(
        default=None,
        metadata={"help": "translate so many sources into each language, drawn balanced over emotions; without, all"},
    )
    seed: int = field(default=0, metadata={"help": "of the draw, and of the order in which rows are stored"})

    translator: str = field(
        default="espeak", metadata={"help": "espeak, seamless_m4t_v2, seamless_expressive, or MODULE:CLASS"}
    )
    translator_options: dict = field(default_factory=dict)
    devices: list[str] = field(
        default_factory=lambda: ["cpu"],
        metadata={"help": "cpu, cuda:0 …: worker by worker in turn"},
    )
    batch_size: int = field(default=8, metadata={"help": "clips that the translator is given at once"})
    seconds_per_batch: float = field(
        default=300.0, metadata={"help": "a translator that takes longer is replaced, and the guilty clip rejected"}
    )

    min_seconds: float = field(default=0.5, metadata={"help": "shorter translations are rejected"})
    min_kilobytes: list[str] = field(
        default_factory=lambda: ["iemocap=20", "meld=20", "default=50"],
        metadata={
            "help": "CORPUS=KB: smaller translations are rejected, as 16-bit PCM at 16 kHz with 1 KB = 1000 bytes "
            "(50 KB are 1.56 s); default= is every other corpus"
        },
    )
    max_clipping: float | None = field(default=None, metadata={"help": "largest share of samples at full scale"})
    max_silence: float | None = field(default=None, metadata={"help": "largest share of silent frames"})
    duration_ratio: list[float] | None = field(
        default=None, metadata={"help": "least and greatest duration, as a multiple of the source's"}
    )
    min_f0_correlation: float | None = field(
        default=None, metadata={"help": "least correlation of the F0 contour with the source's"}
    )

    shards_per_language: int = field(default=1, metadata={"help": "files of each language, and units of work"})
    executor: Literal["local", "slurm", "ray"] = field(default="local", metadata={"help": "datatrove's executor"})
    workers: int = field(default=1, metadata={"help": "shards that are built at the same time"})
    slurm: dict = field(default_factory=dict)
    """What datatrove's SlurmPipelineExecutor takes: partition, time, gpus_per_task and so on."""
    ray: dict = field(default_factory=dict)
    """What datatrove's RayPipelineExecutor takes."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "shards_per_language", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.sample is not None and self.sample < 1:
            raise ValueError(f"sample is {self.sample}; give at least 1, or nothing to translate all")
        if not (math.isfinite(self.min_seconds) and self.min_seconds >= 0):
            raise ValueError(f"min_seconds is {self.min_seconds}; give a number that is not negative")
        if not self.seconds_per_batch > 0:
            raise ValueError(f"seconds_per_batch is {self.seconds_per_batch}; give a number above 0")
        for name, least, what in (
            ("max_clipping", 0, "a share"),
            ("max_silence", 0, "a share"),
            ("min_f0_correlation", -1, "a correlation"),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= 1:
                raise ValueError(f"{name} is {value}; it is {what}, so give a number from {least} to 1")
        if not self.languages:
            raise ValueError("languages is empty, so nothing would be translated; give at least one, such as fr")
        twice = sorted({one for one in self.all_languages if self.all_languages.count(one) > 1})
        if twice:
            raise ValueError(
                f"languages has {', '.join(twice)} twice (source_language, with include_source, is one of them); once"
            )
        if self.source_language in self.languages:
            raise ValueError(
                f"languages has {self.source_language}, which the sources speak, so nothing would be translated; "
                "leave it out, and give include_source to have the sources in the corpus"
            )
        for language in self.all_languages:
            if not (language.isascii() and language.isalpha()):
                raise ValueError(f"languages has {language!r}; give ISO 639-1 codes, such as fr")
        if not self.devices:
            raise ValueError("devices is empty; give cpu, or cuda:0 and so on")
        if self.duration_ratio is not None and (
            len(self.duration_ratio) != 2 or not 0 <= self.duration_ratio[0] <= self.duration_ratio[1]
        ):
            raise ValueError(f"duration_ratio is {self.duration_ratio}; give the least and the greatest")
        self.kilobytes()
        if isinstance(self.labels, str) or not self.labels:
            raise ValueError(f"labels is {self.labels!r}; give a list of label sets, such as seven four")
        self.counted_emotions()

    @property
    def all_languages(self) -> list[str]:
        """The configurations of the corpus, in the order in which they are built."""
        return [*([self.source_language] if self.include_source else []), *self.languages]

    def kilobytes(self) -> dict[str, float]:
        """`min_kilobytes` by corpus name, `default` for the others.

        Raises:
            ValueError: not CORPUS=KB, no corpus of that name, one twice, or no default.
        """
        from mser_llm.data.read_corpus import (
            resolve_corpus_name,  # brings datasets along, for which a look at the help need not wait
        )

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
                raise ValueError(f"min_kilobytes has {entry!r}; write CORPUS=KB, each corpus once, as in meld=20")
            bounds[corpus] = bound
        if _DEFAULT not in bounds:
            raise ValueError("min_kilobytes has no bound for other corpora; add default=50, or default=0")
        return bounds

    def counted_emotions(self) -> dict[str, str]:
        """
        Each source emotion that is translated, and the word that it counts as when a sample is balanced: that of the
        first label set that has one (excited counts as happy by `four`).

        Raises:
            ValueError: an unknown label set.
        """
        counted: dict[str, str] = {}
        for labels in map(label_set, self.labels):
            for emotion in (*labels, *labels.merges):
                counted.setdefault(emotion, labels.map(emotion) or emotion)
        return counted

    def resolved(self) -> dict[str, Any]:
        """The configuration as a recipe that builds the same again."""
        return {name: value for name, value in asdict(self).items() if name != "config"}

    def identity(self, sources: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> dict[str, Any]:
        """What decides the shards, and nothing else: no path, no machine, no number of workers.

        Args:
            sources: what the source rows are; see [`mser_llm.m5ser.sources.describe_sources`].
            fingerprint: of the translator.
        """
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
    """What differs between two identities, as `key: old -> new`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: list[str] = []
        for key in dict.fromkeys([*old, *new]):
            found += differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
        return found
    if isinstance(old, Sequence) and isinstance(new, Sequence) and list(old) == list(new):
        return []
    return [] if old == new else [f"{name}: {_short(old)} -> {_short(new)}"]


def _short(value: Any, width: int = 60) -> str:
    text = str(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"
