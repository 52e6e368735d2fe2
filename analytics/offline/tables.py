"""Tables as they are found, written to CSV and Parquet side by side."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from analytics.offline.arrow import csv, pa, parquet
from analytics.offline.errors import OfflineError
from analytics.spans import FAR_MS

Column = Any  # an array, a list, or an Arrow array

_DAY_MS = 86_400_000
_TIME = pa.timestamp("ms", tz="UTC")
#: Name and type of each column of each table; docs/judge.md says what they mean.
TEXT, NUMBER, COUNT, INSTANT, DAY, FLAG = (
    pa.string(),
    pa.float64(),
    pa.int64(),
    _TIME,
    pa.date32(),
    pa.bool_(),
)
_VERDICT = (
    ("rule", TEXT),
    ("profile", TEXT),
    ("standard", TEXT),
    ("edition", TEXT),
    ("clause", TEXT),
    ("clause_status", TEXT),
    ("consequence", TEXT),
    ("state", TEXT),
    ("start", INSTANT),
    ("end", INSTANT),
    ("duration_s", NUMBER),
)
_PERIOD = (("period", TEXT), ("start", DAY), ("pool_id", TEXT))
SCHEMAS: dict[str, tuple[tuple[str, pa.DataType], ...]] = {
    "quality": (
        ("pool_id", TEXT),
        ("sensor_id", TEXT),
        ("quantity", TEXT),
        ("check", TEXT),
        ("flag", TEXT),
        ("start", INSTANT),
        ("end", INSTANT),
        ("readings", COUNT),
    ),
    "quality_counts": (
        ("pool_id", TEXT),
        ("sensor_id", TEXT),
        ("quantity", TEXT),
        ("step_s", NUMBER),
        ("readings", COUNT),
        ("good", COUNT),
        ("suspect", COUNT),
        ("fail", COUNT),
        ("missing", COUNT),
    ),
    "exceedances": (
        ("pool_id", TEXT),
        ("sensor_id", TEXT),
        ("quantity", TEXT),
        ("sample_kind", TEXT),
        ("tier", TEXT),
        ("binding", FLAG),
        ("limit", NUMBER),
        ("worst_value", NUMBER),
        ("margin", NUMBER),
        ("unit", TEXT),
        *_VERDICT,
        ("unverified_since", INSTANT),
        ("doubt", TEXT),
    ),
    "lapses": (
        ("pool_id", TEXT),
        ("quantity", TEXT),
        *_VERDICT,
        ("cause", TEXT),
        ("not_measured_s", NUMBER),
        ("not_received_s", NUMBER),
        ("not_published_s", NUMBER),
    ),
    "compliance": (
        *_PERIOD,
        ("quantity", TEXT),
        ("open_s", NUMBER),
        ("measured_s", NUMBER),
        ("in_standard_s", NUMBER),
        ("out_s", NUMBER),
        ("unverified_s", NUMBER),
        ("silent_s", NUMBER),
    ),
    "punctuality": (
        *_PERIOD,
        ("duty", TEXT),
        ("quantity", TEXT),
        ("due_s", NUMBER),
        ("kept_s", NUMBER),
        ("overdue_s", NUMBER),
        ("unverified_s", NUMBER),
        ("punctuality", NUMBER),
        ("lapses", COUNT),
        ("done", COUNT),
        ("overdue", COUNT),
        ("unverified", COUNT),
    ),
    "indicator": (
        *_PERIOD,
        ("formula", TEXT),
        ("row", TEXT),
        ("item", TEXT),
        ("loss", TEXT),
        ("clause", TEXT),
        ("points", NUMBER),
        ("points_of", NUMBER),
        ("text_en", TEXT),
        ("text_zh", TEXT),
    ),
    "flags": (
        ("pool_id", TEXT),
        ("sensor_id", TEXT),
        ("quantity", TEXT),
        ("measured_at", INSTANT),
        ("value", pa.float32()),
        ("flag", TEXT),
        ("checks", TEXT),
    ),
}
#: Of every reading: too long for a file to be looked at with the eye.
_PARQUET_ONLY = ("flags",)


class Tables:
    """The tables of one judging, open for writing in one folder."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = names
        self._writers: dict[str, list[Any]] = {}
        self.rows = dict.fromkeys(names, 0)

    def __enter__(self) -> Self:
        try:
            for name in self._names:
                schema = pa.schema(list(SCHEMAS[name]))
                writers = [
                    parquet.ParquetWriter(self._folder / f"{name}.parquet", schema, compression="zstd")
                ]
                self._writers[name] = writers
                if name not in _PARQUET_ONLY:
                    options = csv.WriteOptions(quoting_style="needed")
                    kinds = [(field, TEXT if kind == INSTANT else kind) for field, kind in SCHEMAS[name]]
                    writers.append(
                        csv.CSVWriter(self._folder / f"{name}.csv", pa.schema(kinds), write_options=options)
                    )
        except OSError as error:
            with suppress(OSError):
                self._close()
            raise OfflineError(f"the tables cannot be written: {error.strerror or error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close()
        except OSError as failure:
            if kind is None:
                raise OfflineError(
                    f"the tables cannot be written: {failure.strerror or failure}"
                ) from failure

    def _close(self) -> None:
        with ExitStack() as stack:
            for writers in self._writers.values():
                for writer in writers:
                    stack.callback(writer.close)

    def add(self, name: str, columns: Mapping[str, Column]) -> None:
        """Add rows to a table; one column for each of its schema's.

        Instants are int64 milliseconds with `FAR_MS` for none, days datetime64[D], numbers NaN for none; texts are
        arrays or lists of str with None for none, or `chosen` from few.

        Raises
        ------
        OfflineError
            If the disk takes no more.
        """
        arrays = [_array(columns[field], kind) for field, kind in SCHEMAS[name]]
        rows = pa.table(arrays, schema=pa.schema(list(SCHEMAS[name])))
        if not rows.num_rows:
            return
        self.rows[name] += rows.num_rows
        try:
            self._writers[name][0].write_table(rows)
            for writer in self._writers[name][1:]:
                writer.write_table(_with_text_times(rows))
        except OSError as error:
            raise OfflineError(f"{name} cannot be written: {error.strerror or error}") from error


def _with_text_times(rows: pa.Table) -> pa.Table:
    """For CSV, times as RFC 3339: Arrow's own writing of them takes a microsecond each."""
    for place, field in enumerate(rows.schema):
        if field.type == INSTANT:
            column = rows.column(place).combine_chunks()
            rows = rows.set_column(place, field.name, rfc_3339(column))
    return rows


def rfc_3339(column: pa.Array) -> pa.Array:
    """Texts like 2026-07-01T08:00:00.000Z of an array of timestamps in ms."""
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    at_ms = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    day, since_ms = np.divmod(at_ms, _DAY_MS)
    days, place = np.unique(day, return_inverse=True)
    text = np.empty((len(at_ms), len("2026-07-01T08:00:00.000Z")), dtype=np.uint8)
    dates = days.astype("datetime64[D]").astype("S10").view(np.uint8).reshape(-1, 10)
    text[:, :10] = dates[place]
    text[:, 10], text[:, 13], text[:, 16], text[:, 19], text[:, 23] = b"T::.Z"
    zero = ord("0")
    left = since_ms.astype(np.int32)
    # Each digit's place, and how many of it go into the next: from the milliseconds up to the hours.
    for column_of, base in (
        (22, 10),
        (21, 10),
        (20, 10),
        (18, 10),
        (17, 6),
        (15, 10),
        (14, 6),
        (12, 10),
        (11, 10),
    ):
        left, digit = np.divmod(left, np.int32(base))
        text[:, column_of] = digit + zero
    # Absent ones have no text at all.
    ends = np.concatenate(([0], np.cumsum(np.where(valid, text.shape[1], 0)))).astype(np.int32)
    packed = text if valid.all() else text[valid]
    return pa.Array.from_buffers(
        TEXT,
        len(at_ms),
        [pa.array(valid).buffers()[1], pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(packed))],
    )


def chosen(words: Sequence[str | None], index: NDArray[np.integer]) -> pa.Array:
    """A column of texts that are among few: `words` by `index`; below 0: none."""
    rows = pa.array(index.astype(np.int64), mask=index < 0)
    return pa.array(list(words), type=TEXT).take(rows)


def instants(at_ms: NDArray[np.int64]) -> pa.Array:
    """Times [ms] as RFC 3339."""
    return rfc_3339(pa.array(np.ascontiguousarray(at_ms)).cast(INSTANT))


def numbers(value: NDArray[np.floating]) -> pa.Array:
    """Numbers as the shortest decimals that mean them."""
    return pa.array(np.ascontiguousarray(value)).cast(TEXT)


def _array(column: Column, kind: pa.DataType) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    if pa.types.is_timestamp(kind):
        at_ms = np.asarray(column, dtype=np.int64)
        return pa.array(at_ms, type=pa.int64(), mask=np.abs(at_ms) >= FAR_MS).cast(kind)
    if pa.types.is_date(kind):
        return pa.array(np.asarray(column, dtype="datetime64[D]"))
    if pa.types.is_floating(kind):
        number = np.asarray(column, dtype=kind.to_pandas_dtype())
        return pa.array(number, mask=np.isnan(number))
    return pa.array(column, type=kind)
