"""Rows of a Parquet file that anybody may have written: small files can hold gigabytes, by repetition or by lies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from configs.documents.fields import MAX_TEXT
from configs.reporting import PixelmillError

MAX_GROUP_BYTES = 512_000_000  # of one row group, unpacked, as the file itself tells it
MAX_DICTIONARY_BYTES = 512_000_000  # of the different texts of one column, as they turn out to be
MAX_CELL_BYTES = 4 * MAX_TEXT  # UTF-8 takes at most 4 bytes a character
_BATCH_ROWS = 1_000
_THRIFT_BYTES, _THRIFT_ENTRIES = 16_000_000, 1_000_000  # of the file's description of itself


class UnreadableTable(PixelmillError):
    """The message says why; `row` is the last that could be read, or 1."""

    def __init__(self, message: str, column: str = "", row: int = 1) -> None:
        super().__init__(message)
        self.column, self.row = column, row


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """An open file: its columns, and how many rows it says to have."""

    columns: Sequence[str]
    count: int
    _file: Any

    def rows(self) -> Iterator[dict[str, Any]]:
        """The cells of each row that are not null, by column. Equal texts of a batch are one object.

        Raises UnreadableTable.
        """
        row = 1
        try:
            for batch in self._file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                columns = [
                    (name, _values(batch.column(place), name, row)) for place, name in enumerate(batch.schema.names)
                ]
                for place in range(batch.num_rows):
                    yield {name: values[place] for name, values in columns if values[place] is not None}
                row += batch.num_rows
        except _arrow_errors() as error:
            raise UnreadableTable(f"not a readable Parquet file: {error}", row=row) from None


def open_parquet(data: bytes) -> ParquetTable:
    """Opens the file. Raises UnreadableTable for what is none, has columns of other than plain values, or is too large.

    Texts are read as dictionaries, so that a text that a million rows share is in memory once.
    """
    import pyarrow
    from pyarrow import parquet

    limits = {"thrift_string_size_limit": _THRIFT_BYTES, "thrift_container_size_limit": _THRIFT_ENTRIES}
    try:
        schema = parquet.ParquetFile(pyarrow.BufferReader(data), **limits).schema_arrow
        texts = [field.name for field in schema if _is_text(field.type)]
        file = parquet.ParquetFile(pyarrow.BufferReader(data), read_dictionary=texts, **limits)
        _check_sizes(file.metadata)
    except _arrow_errors() as error:
        raise UnreadableTable(f"not a readable Parquet file: {error}") from None
    for field in schema:
        if pyarrow.types.is_nested(field.type):
            kind = "fields" if pyarrow.types.is_struct(field.type) else "a list"
            raise UnreadableTable(f"must be a text, a number, true or false, not {kind}", field.name)
    return ParquetTable(tuple(schema.names), file.metadata.num_rows, file)


def _arrow_errors() -> tuple[type[Exception], ...]:
    import pyarrow

    return (pyarrow.ArrowException, OSError, UnicodeDecodeError)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind))


def _check_sizes(metadata: Any) -> None:
    """Asks the row groups and not their columns: pyarrow ends the process where a damaged file describes a column."""
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).total_byte_size
        if size > MAX_GROUP_BYTES:
            message = f"a row group of {size:,} bytes unpacked, more than {MAX_GROUP_BYTES:,}: write smaller ones"
            raise UnreadableTable(message)


def _values(column: Any, name: str, row: int) -> list[Any]:
    """The column's values as Python has them, in order; those of a dictionary are made once."""
    import pyarrow
    from pyarrow import compute

    if not pyarrow.types.is_dictionary(column.type):
        return list(column.to_pylist())
    column.validate(full=True)  # a damaged file may point outside of its dictionary
    dictionary = column.dictionary
    if dictionary.nbytes > MAX_DICTIONARY_BYTES:
        raise UnreadableTable(f"texts of {dictionary.nbytes:,} bytes in all: split the table", name, row)
    longest = compute.max(compute.binary_length(dictionary)).as_py() or 0
    if longest > MAX_CELL_BYTES:
        raise UnreadableTable(f"a text of {longest:,} bytes: at most {MAX_TEXT:,} characters are read", name, row)
    places = column.indices.to_pylist()
    used = {place for place in places if place is not None}
    made = {place: dictionary[place].as_py() for place in used}
    return [None if place is None else made[place] for place in places]
