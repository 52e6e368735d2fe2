"""A file of readings, CSV or Parquet, read in batches of bounded size; nothing of the file is kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analytics.offline.arrow import csv, pa, parquet
from analytics.offline.errors import OfflineError
from analytics.offline.rows import Rows, times_of, values_of, words_of
from gateway.contract.local_time import to_ms

#: Of a file of publications, besides.
PUBLISHED_AT = "published_at"
COLUMNS = ("pool_id", "sensor_id", "quantity", "measured_at", "value")
STATUS = "status"
_NUMBERS = ("measured_at", "value", PUBLISHED_AT)
_PARQUET_MAGIC = b"PAR1"
_ZIP_MAGIC = b"PK\x03\x04"
_PARQUET_ROWS = 524_288
_CSV_BLOCK_BYTES = 16 * 2**20
_HEADER_BYTES = 65_536
#: So many bad lines are kept before they are told.
_LINES_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a CSV file that has not the columns of its header."""

    number: int
    text: str
    columns: int
    expected: int


BadLines = Callable[[Sequence[BadLine]], None]


def _ignore(_lines: Sequence[BadLine]) -> None:
    """Nobody asks."""


@dataclass(frozen=True, slots=True)
class ReadingsFile:
    """What is known of a file before its rows are read.

    `n_rows` and `span_ms` (first and last time, both included) are None where only reading all of it could tell.
    `delimiter`: of a CSV file, what stands between its columns.
    """

    path: Path
    is_parquet: bool
    columns: tuple[str, ...]
    wanted: tuple[str, ...]
    n_rows: int | None
    span_ms: tuple[int, int] | None
    delimiter: str = ","

    def batches(self, bad_lines: BadLines = _ignore) -> Iterator[Rows]:
        """The rows in their order. Lines with other columns than the header's are told to `bad_lines`, some at once.

        Raises
        ------
        OfflineError
            If the file breaks off or holds what cannot be decoded.
        """
        read = _parquet_batches if self.is_parquet else _csv_batches
        if self.n_rows == 0:
            return
        try:
            yield from read(self, bad_lines)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            hint = "; save it as UTF-8" if "UTF8" in str(error) else ""
            raise OfflineError(
                f"{self.path} cannot be read to its end: {_first_line(error)}{hint}"
            ) from error


def open_readings(path: Path, *, needed: Sequence[str] = COLUMNS) -> ReadingsFile:
    """Look at a file: is it CSV or Parquet, and has it the columns, to which `status` may come.

    Raises
    ------
    OfflineError
        If it cannot be read, is empty, is neither, or lacks a column.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(len(_PARQUET_MAGIC))
        if not begin:
            raise OfflineError(f"{path} is empty")
        is_parquet = begin == _PARQUET_MAGIC
        found = _look_at_parquet(path) if is_parquet else _look_at_csv(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = _first_line(error)
        if path.suffix == ".parquet":
            raise OfflineError(f"{path} is not a Parquet file: {reason}") from error
        raise OfflineError(f"{path} cannot be read: {reason}") from error
    check_columns(path, found.columns, needed)
    wanted = [name for name in dict.fromkeys((*needed, STATUS)) if name in found.columns]
    return replace(found, wanted=tuple(wanted))


def check_columns(path: Path, found: Sequence[str], needed: Sequence[str]) -> None:
    """OfflineError if a needed column is not there, or is there twice."""
    lacking = [name for name in needed if name not in found]
    if lacking:
        lower = {name.strip().lower() for name in found}
        hint = "; names are in lower case and without spaces" if lower & set(lacking) else ""
        raise OfflineError(
            f"{path} lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}; "
            f"it has {', '.join(found) or 'none'}{hint}"
        )
    twice = [name for name in (*needed, STATUS) if list(found).count(name) > 1]
    if twice:
        raise OfflineError(f"{path} has the column {twice[0]} twice")


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    told = str(error).split("\n", maxsplit=1)[0] or type(error).__name__
    no_text = isinstance(error, UnicodeDecodeError) or "UTF8" in told or "\ufffd" in told
    return f"{told}; save it as UTF-8" if no_text else told


def _look_at_csv(path: Path) -> ReadingsFile:
    # As the reader itself does, by the name's ending: a compressed file is read through.
    with pa.input_stream(str(path)) as file:
        header = file.read(_HEADER_BYTES)
    if header.startswith(_ZIP_MAGIC):
        raise OfflineError(f"{path} is a spreadsheet or another ZIP file: save it as CSV")
    # Some spreadsheets write other delimiters; a header of ours has none of them in a name.
    words = header.split(b"\n", maxsplit=1)[0]
    delimiter = next((one for one in ";\t" if one.encode() in words and b"," not in words), ",")
    if b"\n" not in header and b"\r" not in header and len(header) < _HEADER_BYTES:
        names = tuple(name.strip(' "') for name in header.decode("utf-8-sig").split(delimiter))
        return replace(_csv_file(path, names, delimiter), n_rows=0)
    with csv.open_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False),
        parse_options=_parse_options(delimiter, lambda _: "skip"),
    ) as reader:
        names = tuple(reader.schema.names)
    return _csv_file(path, names, delimiter)


def _csv_file(path: Path, names: tuple[str, ...], delimiter: str) -> ReadingsFile:
    return ReadingsFile(
        path, is_parquet=False, columns=names, wanted=(), n_rows=None, span_ms=None, delimiter=delimiter
    )


def _parse_options(delimiter: str, on_bad_line: Callable[[Any], str]) -> csv.ParseOptions:
    return csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=on_bad_line)


def _look_at_parquet(path: Path) -> ReadingsFile:
    with parquet.ParquetFile(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        names = tuple(schema.names)
        for name in ("measured_at", PUBLISHED_AT):
            if names.count(name) == 1:
                _check_time_type(path, name, schema.field(name).type)
        if names.count("value") == 1:
            _check_value_type(path, schema.field("value").type)
        return ReadingsFile(
            path,
            is_parquet=True,
            columns=names,
            wanted=(),
            n_rows=metadata.num_rows,
            span_ms=_span_of(metadata),
        )


def _check_time_type(path: Path, name: str, kind: pa.DataType) -> None:
    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            raise OfflineError(
                f"{path}: the times of {name} have no time zone, so nobody knows when that was; "
                "write them with one, as timestamp with UTC"
            )
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
        raise OfflineError(f"{path}: {name} is {kind}; it must be a timestamp with time zone, or text")


def _check_value_type(path: Path, kind: pa.DataType) -> None:
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    if not (numeric or pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise OfflineError(f"{path}: value is {kind}; it must be numbers, or text")


def _span_of(metadata: Any) -> tuple[int, int] | None:
    """First and last time by the statistics of a Parquet file's row groups; None if one has none."""
    place = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    if "measured_at" not in place or not metadata.num_row_groups:
        return None
    column = place.index("measured_at")
    ends: list[tuple[int, int]] = []
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(column).statistics
        if statistics is None or not statistics.has_min_max or not hasattr(statistics.min, "tzinfo"):
            return None
        ends.append((to_ms(statistics.min), to_ms(statistics.max)))
    return min(low for low, _ in ends), max(high for _, high in ends)


def _parquet_batches(found: ReadingsFile, _bad_lines: BadLines) -> Iterator[Rows]:
    words = [name for name in found.wanted if name not in _NUMBERS]
    none = np.empty(0, dtype=np.int64)
    first = 1
    # Buffering ahead would keep every column chunk of the file until its end.
    with parquet.ParquetFile(found.path, read_dictionary=words, pre_buffer=False) as file:
        for batch in file.iter_batches(
            batch_size=_PARQUET_ROWS, columns=list(found.wanted), use_threads=True
        ):
            if len(batch):
                yield rows_of(batch, first=first, skipped=none)
                first += len(batch)


def _csv_batches(found: ReadingsFile, bad_lines: BadLines) -> Iterator[Rows]:
    seen: list[int] = []
    untold: list[BadLine] = []

    def tell() -> None:
        bad_lines(untold)
        untold.clear()

    def note(row: Any) -> str:
        # The header is line 1 to the reader.
        number = int(row.number) - 1
        untold.append(BadLine(number, row.text, row.actual_columns, row.expected_columns))
        if len(untold) >= _LINES_AT_ONCE:
            tell()
        seen.append(number)
        return "skip"

    words = pa.dictionary(pa.int32(), pa.string())
    types = {name: pa.string() if name in _NUMBERS else words for name in found.wanted}
    with csv.open_csv(
        found.path,
        # One thread, since only then are lines numbered; it reads about ten million rows a second.
        read_options=csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
        parse_options=_parse_options(found.delimiter, note),
        convert_options=csv.ConvertOptions(column_types=types, include_columns=list(found.wanted)),
    ) as reader:
        first = 1
        for batch in reader:
            # Lines that lie before this batch move it on; those within move what follows them.
            skipped = np.array(seen, dtype=np.int64)
            while len(skipped) and skipped[0] == first:
                first += 1
                skipped = skipped[1:]
            if len(batch):
                rows = rows_of(batch, first=first, skipped=skipped)
                yield rows
                first = int(rows.numbers(np.array([len(batch) - 1]))[0]) + 1
            seen = [number for number in seen if number >= first]
            tell()
        tell()


def rows_of(batch: pa.RecordBatch, *, first: int, skipped: np.ndarray[Any, np.dtype[np.int64]]) -> Rows:
    """A batch as columns of numbers."""
    at_ms, at_problem = times_of(batch.column("measured_at"))
    value, value_problem = values_of(batch.column("value"))
    has_status = STATUS in batch.schema.names
    return Rows(
        first=first,
        skipped=skipped,
        pool=words_of(batch.column("pool_id")),
        sensor=words_of(batch.column("sensor_id")),
        quantity=words_of(batch.column("quantity")),
        status=words_of(batch.column(STATUS)) if has_status else None,
        at_ms=at_ms,
        at_problem=at_problem,
        value=value,
        value_problem=value_problem,
        published=times_of(batch.column(PUBLISHED_AT)) if PUBLISHED_AT in batch.schema.names else None,
        texts={name: batch.column(name) for name in batch.schema.names},
    )
