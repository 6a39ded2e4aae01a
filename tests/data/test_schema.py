# SPDX-License-Identifier: Apache-2.0
import pytest
from datasets import Audio, load_dataset

from mser_llm.data.schema import ROW_SCHEMA, new_row, rows_to_dataset


def rows(count, **columns):
    return [new_row(id=f"c{i}", path=f"/x/{i}.wav", corpus="test", **columns) for i in range(count)]


def rows_with_bytes(count, **columns):
    return [{**row, "audio": {"bytes": b"sound", "path": f"{i}.wav"}} for i, row in enumerate(rows(count, **columns))]


def test_rows_to_dataset_keeps_rows_and_encoded_audio():
    given = rows(3, emotion="sad", speaker="test-1", duration=1.5)
    dataset = rows_to_dataset(given)
    assert dataset.features["audio"] == Audio(decode=False)
    assert list(dataset) == given
    assert list(given[0]) == rows_to_dataset([]).column_names == ROW_SCHEMA.names


def test_streaming_reads_shards_with_null_columns(tmp_path):
    full = rows_with_bytes(
        2, emotion="sad", speaker="test-1", gender="male", language="de", transcript="ja", duration=1.0
    )
    null = [{**row, "id": f"n{row['id']}"} for row in rows_with_bytes(2)]
    for name, shard in (("a", null), ("b", full)):
        rows_to_dataset(shard).to_parquet(tmp_path / f"{name}.parquet")
    files = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    assert list(load_dataset("parquet", data_files=files, split="train", streaming=True)) == null + full


@pytest.mark.parametrize(("column", "value"), [("mood", "blue"), ("id", None), ("corpus", None)])
def test_rows_to_dataset_rejects_wrong_columns(column, value):
    with pytest.raises(ValueError, match=column):
        rows_to_dataset([{**rows(1)[0], column: value}])
