"""Item tables: CSV, JSONL and Parquet from bytes, a row an item, every mistake with the row's line.

A small file of an untrusted user can hold gigabytes, by repetition or by false sizes: everything is bounded.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError
from rapidfuzz.distance import Levenshtein

from configs.documents.fields import MAX_TEXT
from configs.documents.problems import MAX_PROBLEMS, Problem, describe, nearest, problems_of
from configs.job.csv_dialect import SEPARATORS, decode_csv, doubt, plain_name, separator_of, tidy
from configs.job.job import ItemEntry

MAX_GROUP_BYTES = 512_000_000  # of one row group, unpacked, as declared in the file
MAX_DICTIONARY_BYTES = 512_000_000  # of the different texts of one column, as they turn out to be
MAX_CELL_BYTES = 4 * MAX_TEXT  # UTF-8 takes at most 4 bytes a character
_BATCH_ROWS = 1_000
_THRIFT_BYTES, _THRIFT_ENTRIES = 16_000_000, 1_000_000  # of the file's description of itself
MAX_COLUMNS = 256  # more than an item has fields and variables
FIELDS = tuple(name for name in ItemEntry.model_fields if name != "vars")
_INT = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")
_BOOLS = {"true": True, "false": False}
_BEGINS_NUMBER = frozenset("0123456789+-'")
_WHOLE = re.compile(r"(0|[1-9][0-9]{0,14})\.0")  # as programs write whole numbers of a column with empty cells


class TableRow(NamedTuple):
    """An item of a table. `line` is the line it begins in (CSV, JSONL) or its number from 1 (Parquet)."""

    line: int
    entry: ItemEntry


@dataclass(frozen=True, slots=True)
class _Mistake(Exception):
    """A mistake that makes the rest of a table, or one row of it, unreadable."""

    line: int
    message: str
    path: str = ""


_Raw = tuple[int, dict[str, Any] | _Mistake]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What readers need, and the list of notices about what they guessed."""

    limit: int
    variables: Collection[str]
    notices: list[str] = field(default_factory=list)


class ItemTable(NamedTuple):
    """The items of a table, every mistake, and how it was read where that could be otherwise."""

    rows: list[TableRow]
    problems: list[Problem]
    notices: list[str]


def read_table(data: bytes, file: str, limit: int, variables: Collection[str] = ()) -> ItemTable:
    """Read a table (.csv, .jsonl, .ndjson, .parquet or .txt by its name).

    Fields of an item have their names; all other columns become variables. A column whose name differs from a field's,
    or from one of `variables`, in case or spaces only is taken for it. Reading stops after `limit` rows, and after
    MAX_PROBLEMS mistakes.
    """
    suffix = file[file.rfind(".") :].lower() if "." in file else ""
    reader = _READERS.get(suffix)
    if reader is None:
        return ItemTable([], [Problem("", f"an item table must be one of {', '.join(_READERS)}", file)], [])
    rows: list[TableRow] = []
    problems: list[Problem] = []
    reading = _Reading(limit, variables)
    try:
        for count, (line, raw) in enumerate(reader(data, reading), 1):
            if count > limit:
                raise _Mistake(line, f"more than {limit:,} items (setting PIXELMILL_MAX_ITEMS, seeds counted)")
            _take(line, raw, file, rows, problems)
            if len(problems) > MAX_PROBLEMS:
                break
    except _Mistake as mistake:
        problems.append(Problem(mistake.path, mistake.message, file, mistake.line))
    if not rows and not problems:
        problems.append(Problem("", "the table holds no items", file, 1))
    return ItemTable(rows, problems, [f"{file}: {notice}" for notice in reading.notices])


def _take(line: int, raw: dict[str, Any] | _Mistake, file: str, rows: list[TableRow], problems: list[Problem]) -> None:
    if isinstance(raw, _Mistake):
        problems.append(Problem(raw.path, raw.message, file, raw.line))
        return
    seed = raw.get("seed")
    if isinstance(seed, float) and seed.is_integer() and abs(seed) < 2**53:  # above, floats leave numbers out
        raw["seed"] = int(seed)
    try:
        rows.append(TableRow(line, ItemEntry.model_validate(raw, strict=True)))
    except ValidationError as error:
        problems += [
            Problem(each.path.removeprefix("vars."), each.message, file, line)
            for each in problems_of(error.errors(include_url=False), ItemEntry, raw)
        ]


def _column_mistakes(columns: Sequence[str], line: int) -> Iterator[_Raw]:
    """Yield the columns that are misspelled fields or doubled. Those without a name are not looked at."""
    if len(columns) > MAX_COLUMNS:
        yield line, _Mistake(line, f"{len(columns):,} columns, more than {MAX_COLUMNS}")
        return
    missing = [field for field in FIELDS if field not in columns]
    for column in filter(None, dict.fromkeys(columns)):
        near = [] if column in FIELDS else [name for name in nearest(column, missing) if _is_misspelled(column, name)]
        if columns.count(column) > 1:
            yield line, _Mistake(line, f"two columns are called `{column}`", column)
        elif near:
            message = f"looks like a misspelled field; did you mean `{near[0]}`? Rename the column if it is a variable"
            yield line, _Mistake(line, message, column)


def _as_known(columns: Sequence[str], reading: _Reading) -> list[str]:
    """Return the columns with the names of fields and variables where they differ in case or spaces only."""
    known = {plain_name(name): name for name in (*reading.variables, *FIELDS)}
    taken = {
        column: name
        for column in columns
        if (name := known.get(plain_name(column), column)) != column
        and not (column in reading.variables or name in columns)
    }
    reading.notices.extend(f"the column `{column}` is taken for `{name}`" for column, name in taken.items())
    return [taken.get(column, column) for column in columns]


def _is_misspelled(column: str, field: str) -> bool:
    """Return whether a letter is added, missing or wrong, or two are swapped: nearer than `nearest` requires."""
    return abs(len(column) - len(field)) <= 1 and Levenshtein.distance(column, field) <= 2


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _Mistake(line, f"not UTF-8 (byte 0x{data[error.start]:02x}): save the file as UTF-8") from None


def _read_csv(data: bytes, reading: _Reading) -> Iterator[_Raw]:
    notices = reading.notices
    try:
        text, notice = decode_csv(data)
    except UnicodeDecodeError:
        text, notice = _decode(data), None  # raises a mistake with its line
    separator = separator_of(text, FIELDS)
    notices += filter(None, [notice, f"columns are separated by {SEPARATORS[separator]}" if separator != "," else None])
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    columns: list[str] | None = None
    doubted = set[tuple[str, str]]()  # columns, and notices about them
    line, empty = 1, 0
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                empty += bool(cells)  # an empty line is not a row
            elif columns is None:
                columns = _as_known([tidy(cell) for cell in cells], reading)
                mistakes = list(_column_mistakes(columns, start))
                if "vars" in columns:
                    mistakes.append(
                        (start, _Mistake(start, "in a CSV each variable has a column of its own name", "vars"))
                    )
                yield from mistakes
                if mistakes:
                    return
            elif len(cells) < len(columns) or any(cell.strip() for cell in cells[len(columns) :]):
                yield start, _Mistake(start, f"the row has {len(cells)} cells, the header {len(columns)}")
            else:
                notices += _doubts(start, columns, cells, separator, doubted)
                yield start, _csv_item(start, columns, cells)
    except csv.Error as error:
        raise _Mistake(line, f"not valid CSV: {error}") from None
    if empty:
        notices.append(f"{empty:,} empty {'row is' if empty == 1 else 'rows are'} left out")


def _doubts(
    line: int, columns: list[str], cells: list[str], separator: str, told: set[tuple[str, str]]
) -> Iterator[str]:
    """Yield what may be wrong with numbers in the row; the same of a column once."""
    for column, cell in zip(columns, cells, strict=False):
        plain = tidy(cell)
        if plain[:1] not in _BEGINS_NUMBER or (column in FIELDS and column != "seed"):
            continue
        said = doubt(plain, is_text=isinstance(typed(plain), str), separator=separator)
        if said is not None and (column, said) not in told:
            told.add((column, said))
            yield f"line {line}, column `{column}`: `{plain}` {said}"


def _csv_item(line: int, columns: list[str], cells: list[str]) -> dict[str, Any] | _Mistake:
    item: dict[str, Any] = {"vars": {}}
    for number, (column, cell) in enumerate(zip(columns, cells, strict=False), 1):
        if not (plain := tidy(cell)):
            continue
        if not column:
            return _Mistake(line, f"column {number} has no name")
        if column == "seed":
            item[column] = int(plain) if _INT.fullmatch(plain) else float(plain) if _WHOLE.fullmatch(plain) else cell
        elif column in FIELDS:
            item[column] = cell
        else:
            item["vars"][column] = typed(plain)
    return item


def typed(text: str) -> bool | int | float | str:
    """Return the value of a CSV cell: true and false in any case, numbers without leading zeros, else the text."""
    if text.lower() in _BOOLS:
        return _BOOLS[text.lower()]
    if _INT.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("-").isdigit():
        number = float(text)
        return number if abs(number) != float("inf") else text
    return text


def _read_jsonl(data: bytes, _reading: _Reading) -> Iterator[_Raw]:
    # Not split at once: of many empty lines each would take memory.
    for line, text in enumerate(io.StringIO(_decode(data), newline="\n"), 1):
        if text.strip():
            yield line, _json_item(line, text.removesuffix("\n"))


def _json_item(line: int, text: str) -> dict[str, Any] | _Mistake:
    try:
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return _Mistake(line, f"not valid JSON: {reason}")
    if not isinstance(value, dict):
        return _Mistake(line, f"must be an object ({{…}}), not {describe(value)}")
    return _split_vars(line, value)


def _split_vars(line: int, value: Mapping[str, Any]) -> dict[str, Any] | _Mistake:
    """Move everything but an item's own fields into its variables."""
    if len(value) > MAX_COLUMNS:
        return _Mistake(line, f"{len(value):,} fields, more than {MAX_COLUMNS}")
    own = value.get("vars")
    if own is not None and not isinstance(own, Mapping):
        return _Mistake(line, f"must be fields (`name: value`), not {describe(own)}", "vars")
    extra = {key: each for key, each in value.items() if key not in FIELDS and key != "vars"}
    for key in extra:
        if own and key in own:
            return _Mistake(line, f"`{key}` is given twice: in `vars` and beside it", key)
        if (plain := plain_name(key)) in FIELDS:
            return _Mistake(line, f"write `{plain}`", key)
    return {**{key: value[key] for key in FIELDS if key in value}, "vars": {**(own or {}), **extra}}


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"`{next(key for key in keys if keys.count(key) > 1)}` is written twice")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a finite number")


def _read_parquet(data: bytes, reading: _Reading) -> Iterator[_Raw]:
    import pyarrow
    from pyarrow import parquet, types

    limits = {"thrift_string_size_limit": _THRIFT_BYTES, "thrift_container_size_limit": _THRIFT_ENTRIES}
    row = 1
    try:
        schema = parquet.ParquetFile(pyarrow.BufferReader(data), **limits).schema_arrow
        # Texts are read as dictionaries, so that a text that a million rows share is in memory once.
        is_text = (types.is_string, types.is_large_string, types.is_binary)
        texts = [field.name for field in schema if any(is_one(field.type) for is_one in is_text)]
        file = parquet.ParquetFile(pyarrow.BufferReader(data), read_dictionary=texts, **limits)
        _check_sizes(file.metadata)
        for field in schema:
            if types.is_nested(field.type):
                kind = "fields" if types.is_struct(field.type) else "a list"
                raise _Mistake(1, f"must be a text, a number, true or false, not {kind}", field.name)
        if (count := file.metadata.num_rows) > reading.limit:
            raise _Mistake(
                1, f"{count:,} rows, more than {reading.limit:,} (setting PIXELMILL_MAX_ITEMS, seeds counted)"
            )
        names = _as_known(schema.names, reading)
        if mistakes := list(_column_mistakes(names, 1)):
            yield from mistakes
            return
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            columns = [(name, _values(batch.column(index), name, row)) for index, name in enumerate(names)]
            for index in range(batch.num_rows):
                cells = {name: values[index] for name, values in columns if values[index] is not None}
                yield row + index, _split_vars(row + index, cells)
            row += batch.num_rows
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _Mistake(row, f"not a readable Parquet file: {error}") from None


def _check_sizes(metadata: Any) -> None:
    """Check row groups, not their columns: pyarrow ends the process on a damaged description of a column."""
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).total_byte_size
        if size > MAX_GROUP_BYTES:
            message = f"a row group of {size:,} bytes unpacked, more than {MAX_GROUP_BYTES:,}: write smaller ones"
            raise _Mistake(1, message)


def _values(column: Any, name: str, row: int) -> list[Any]:
    """Return the column's values as objects of Python, in order; those of a dictionary are made once."""
    from pyarrow import compute, types

    if not types.is_dictionary(column.type):
        return list(column.to_pylist())
    column.validate(full=True)  # a damaged file may point outside of its dictionary
    dictionary = column.dictionary
    if dictionary.nbytes > MAX_DICTIONARY_BYTES:
        raise _Mistake(row, f"texts of {dictionary.nbytes:,} bytes in all: split the table", name)
    longest = compute.max(compute.binary_length(dictionary)).as_py() or 0
    if longest > MAX_CELL_BYTES:
        raise _Mistake(row, f"a text of {longest:,} bytes: at most {MAX_TEXT:,} characters are read", name)
    indices = column.indices.to_pylist()
    made = {index: dictionary[index].as_py() for index in set(indices) if index is not None}
    return [None if index is None else made[index] for index in indices]


def _read_prompts(data: bytes, _reading: _Reading) -> Iterator[_Raw]:
    """Yield an item for each line, as people keep prompts: empty lines and those that begin with # do not count."""
    for line, text in enumerate(io.StringIO(_decode(data)), 1):
        if (prompt := text.strip()) and not prompt.startswith("#"):
            yield line, {"prompt": prompt, "vars": {}}


_READERS: dict[str, Callable[[bytes, _Reading], Iterator[_Raw]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_prompts,
}
