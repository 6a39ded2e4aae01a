# SPDX-License-Identifier: Apache-2.0
import pytest
from datasets import Audio, load_dataset

from mser_llm.data.schema import ROW_SCHEMA, new_row, rows_to_dataset


def rows(count, **columns):
    return [new_row(id=f"c{i}", path=f"/x/{i}.wav", corpus="test", **columns) for i in range(count)]


def rows_with_bytes(count, **columns):
    return [{**row, "audio": {"bytes": b"sound", "path": f"{i}.wav"}} for i, row in enumerate(rows(count, **columns))]


def test_a_row_has_every_column():
    assert list(rows(1)[0]) == ROW_SCHEMA.names


def test_audio_stays_encoded_and_rows_come_back():
    given = rows(3, emotion="sad", speaker="test-1", duration=1.5)
    dataset = rows_to_dataset(given)
    assert dataset.features["audio"] == Audio(decode=False)
    assert list(dataset) == given


def test_streaming_over_a_shard_whose_columns_are_all_null(tmp_path):
    full = rows_with_bytes(
        2, emotion="sad", speaker="test-1", gender="male", language="de", transcript="ja", duration=1.0
    )
    null = [{**row, "id": f"n{row['id']}"} for row in rows_with_bytes(2)]
    for name, shard in (("a", null), ("b", full)):
        rows_to_dataset(shard).to_parquet(tmp_path / f"{name}.parquet")
    files = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    assert list(load_dataset("parquet", data_files=files, split="train", streaming=True)) == null + full


def test_rows_of_no_use_are_refused():
    with pytest.raises(ValueError, match="'c0' has the unknown columns mood; the columns are id, audio"):
        rows_to_dataset([{**rows(1)[0], "mood": "blue"}])
    with pytest.raises(ValueError, match="no id or no corpus"):
        rows_to_dataset([{**rows(1)[0], "id": None}])


def test_no_rows_give_an_empty_data_set_of_the_schema():
    assert rows_to_dataset([]).column_names == ROW_SCHEMA.names
