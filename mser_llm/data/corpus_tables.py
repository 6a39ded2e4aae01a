# SPDX-License-Identifier: Apache-2.0
"""The tables of one corpus on disk: read, asked for the record of a file, and asked what they list in vain."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mser_llm.data.corpora import ClipTable, CorpusSpec
from mser_llm.data.corpus_reading import CorpusError
from mser_llm.data.listing import without_extension


class TableRecords:
    """One table of a corpus, read.

    Args:
        table: its declaration.
        records: key to the columns that the corpus uses.
        files: of the table, relative to the corpus's folder.
    """

    def __init__(self, table: ClipTable, records: dict[str, dict[str, str]], files: Sequence[str]):
        self.table, self.files = table, files
        self._records = records
        self._asked: set[str] = set()

    def find(self, fields: Mapping[str, str]) -> dict[str, str] | None:
        """The record of the file with these fields."""
        key = self.table.of(fields)
        record = self._records.get(key) if key is not None else None
        if record is not None and key is not None and self.table.lists_clips:
            self._asked.add(key)
        return record

    def unasked(self) -> list[tuple[str, dict[str, str]]]:
        """Clips that the table lists and for which no file came."""
        if not self.table.lists_clips or len(self._asked) == len(self._records):
            return []
        return [(key, record) for key, record in self._records.items() if key not in self._asked]


def read_tables(spec: CorpusSpec, path: Path, others: Sequence[str]) -> list[TableRecords]:
    """Read every table of a corpus that is there.

    Args:
        spec: the corpus.
        path: its folder.
        others: the files there that are not audio, relative to it.

    Raises:
        CorpusError: a required table is not there, or there and damaged.
    """
    return [_read(spec, table, path, others) for table in spec.tables]


def _read(spec: CorpusSpec, table: ClipTable, path: Path, others: Sequence[str]) -> TableRecords:
    records: dict[str, dict[str, str]] = {}
    columns = spec.columns
    found = list(table.find(others))
    for file, shared in found:
        try:
            for values in table.records(path / file):
                fields = {**values, **shared}
                key = table.key(fields)
                if key is not None:
                    records.setdefault(
                        without_extension(key), {name: fields[name] for name in columns if name in fields}
                    )
        except (OSError, ValueError) as error:
            raise CorpusError(str(error) if str(path / file) in str(error) else f"{path / file}: {error}") from error
    if table.required and not records:
        problem = "hold no record of the expected form" if found else "are not there"
        raise CorpusError(
            f"{path}: the {table.holds} of {spec.name} stand in {table.named()}, which {problem}; put them back, or "
            "give the folder that holds them and the recordings"
        )
    return TableRecords(table, records, [file for file, _ in found])
