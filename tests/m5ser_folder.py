# SPDX-License-Identifier: Apache-2.0
"""Write a folder in M5SER's layout with pyarrow only, independent of the code under test."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from pyarrow import parquet


EMOTIONS = ("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear")
STRING, AUDIO = {"dtype": "string", "_type": "Value"}, {"sampling_rate": 16000, "decode": False, "_type": "Audio"}
COLUMNS = {
    "id": (pa.string(), STRING),
    "audio": (pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]), AUDIO),
    **dict.fromkeys(("emotion", "language", "corpus", "speaker", "gender", "transcript"), (pa.string(), STRING)),
    "duration": (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    **dict.fromkeys(("split", "source_id", "source_corpus", "source_split", "translator"), (pa.string(), STRING)),
}
FEATURES = {"info": {"features": {name: feature for name, (_, feature) in COLUMNS.items()}}}
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=name not in ("id", "corpus")) for name, (kind, _) in COLUMNS.items()],
    metadata={"huggingface": json.dumps(FEATURES)},
)
REJECTS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("id", "source_id", "source_corpus", "language", "stage", "reason")),
        pa.field("value", pa.float64()),
    ]
)


def flac(seconds: float, hertz: float) -> bytes:
    file = io.BytesIO()
    wave = 0.1 * np.sin(2 * np.pi * hertz * np.arange(int(16_000 * seconds)) / 16_000)
    soundfile.write(file, wave, 16_000, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def row(corpus: str, source: str, language: str, **columns: Any) -> dict[str, Any]:
    name = f"{corpus}/{source}/{language}"
    sound = b"" if "audio" in columns else flac(columns.get("duration", 0.5), 200 + 10 * len(name))
    return {
        "id": name,
        "audio": {"bytes": sound, "path": f"{name.replace('/', '_')}.flac"},
        "emotion": "happy",
        "language": language,
        "corpus": "m5ser",
        "speaker": f"{corpus}-{source[:2]}",
        "gender": "female",
        "transcript": None,
        "duration": 0.5,
        "split": "train",
        "source_id": None if language == "en" else source,
        "source_corpus": corpus,
        "source_split": None,
        "translator": None if language == "en" else "espeak",
    } | columns


def corpus_rows(language: str, corpus: str = "ravdess", speakers: int = 4) -> list[dict[str, Any]]:
    """Generate one clip per emotion and speaker."""
    return [
        row(corpus, f"{speaker:02d}-{emotion}", language, emotion=emotion, duration=0.5 + 0.25 * (index % 2))
        for speaker in range(speakers)
        for index, emotion in enumerate(EMOTIONS)
    ]


def write_m5ser(
    root: Path,
    rows: dict[str, list[dict[str, Any]]],
    rejects: dict[str, list[dict[str, Any]]] | None = None,
    shards: int = 2,
    **config: Any,
) -> Path:
    """Write `rows` by language into `shards` shards each; `config` goes into the manifest."""
    entries = []
    for language, kept in rows.items():
        for number in range(shards):
            count, own = f"{number:05d}-of-{shards:05d}", kept[number::shards]
            dropped = (rejects or {}).get(language, [])[number::shards]
            data, lost = f"data/{language}/train-{count}.parquet", f"rejects/{language}-{count}.parquet"
            shard = {b"m5ser.shard": f"{language}-{number}".encode()}
            for name, schema, content in ((lost, REJECTS, dropped), (data, SCHEMA, own)):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                schema = schema.with_metadata({**(schema.metadata or {}), **shard})
                # An empty shard has no row group, because `datasets` cannot read one without rows.
                with parquet.ParquetWriter(root / name, schema) as writer:
                    if content:
                        writer.write_table(pa.Table.from_pylist(content, schema=schema))
            entries.append(
                {
                    "path": data,
                    "language": language,
                    "rows": len(own),
                    "seconds": sum(clip["duration"] for clip in own),
                    "bytes": (root / data).stat().st_size,
                    "sha256": hashlib.sha256((root / data).read_bytes()).hexdigest(),
                    "rejects": len(dropped),
                    "rejects_path": lost,
                    "rejects_sha256": hashlib.sha256((root / lost).read_bytes()).hexdigest(),
                }
            )
    identity = {
        "format": 3,
        "languages": [language for language in rows if language != "en"],
        "labels": list(EMOTIONS),
        "translator": "espeak",
        "filters": {"min_seconds": 0.5, "min_kilobytes": {"default": 50.0}},
        "gates": {"max_clipping": None},
    } | config
    manifest = {
        "format": 3,
        "config": identity,
        "config_hash": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
        "shards": entries,
        "rows": sum(entry["rows"] for entry in entries),
        "hours": sum(entry["seconds"] for entry in entries) / 3600,
    }
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["manifest_hash"] = hashlib.sha256(canonical.encode()).hexdigest()
    (root / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    recipe = {
        "corpora": ["ravdess=/home/someone/ravdess"],
        "translator": "espeak",
        "output_dir": "/home/someone/m5ser",
    }
    (root / "config.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    return root
