"""Every refused row of a file by its number, its text and the reason, in `refused.csv`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from analytics.offline.arrow import csv, pa, pc
from analytics.offline.errors import OfflineError
from analytics.offline.readings_file import COLUMNS, STATUS, BadLine
from analytics.offline.rows import Problem, Rows
from analytics.offline.tables import chosen, rfc_3339

#: What a refused row is told; {} is the text that is wrong.
_REASONS = {
    Problem.NO_POOL: "no pool_id",
    Problem.UNKNOWN_POOL: "pool {pool_id!r} is not in the registry",
    Problem.NO_QUANTITY: "no quantity",
    Problem.UNKNOWN_QUANTITY: "quantity {quantity!r} is not known",
    Problem.NO_SENSOR: "no sensor_id",
    Problem.UNKNOWN_SENSOR: "sensor {sensor_id!r} of {quantity} is not registered for pool {pool_id!r}",
    Problem.UNKNOWN_STATUS: "status {status!r} is not known",
    Problem.NO_TIME: "no measured_at",
    Problem.NO_ZONE: "measured_at {measured_at!r} has no time zone: write Z, or an offset like +08:00",
    Problem.BAD_TIME: "measured_at {measured_at!r} is no time like 2026-07-01T08:00:00Z",
    Problem.NOT_A_NUMBER: "value {value!r} is not a number",
    Problem.INFINITE: "value {value!r} is infinite",
    Problem.NO_VALUE: "no value, and the status does not say why",
    Problem.SAME_TIME: "another row has this sensor's reading of this time; the last one counts",
    Problem.NOT_PUBLISHED: "no published_at",
    Problem.PUBLISHED_NO_ZONE: "published_at {published_at!r} has no time zone: write Z, or an offset like +08:00",
    Problem.PUBLISHED_BAD_TIME: "published_at {published_at!r} is no time like 2026-07-01T08:00:00Z",
    Problem.SAME_SECOND: "another row has this sensor's reading of this second; the newest one counts",
}
_NAMED = {
    problem: [name for _, name, _, _ in Formatter().parse(reason) if name]
    for problem, reason in _REASONS.items()
}
_TEXT = pa.string()


class Refusals:
    """Writes refused rows as they come, and counts them by reason. Nothing of them is kept, however many they are.

    Bad lines come from the thread that reads ahead, rows from the one that uses them.
    """

    def __init__(self, path: Path, *, columns: Sequence[str] = (*COLUMNS, STATUS)) -> None:
        self.counts: Counter[str] = Counter()
        self._path = path
        self._lock = Lock()
        self._columns = tuple(columns)
        kinds = [("row", pa.int64()), *((name, _TEXT) for name in ("reason", *columns, "line"))]
        self._schema = pa.schema(kinds)

    def __enter__(self) -> Self:
        try:
            options = csv.WriteOptions(quoting_style="needed")
            self._writer = csv.CSVWriter(self._path, self._schema, write_options=options)
        except OSError as error:
            raise self._not_written(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
        except OSError as failure:
            if kind is None:
                raise self._not_written(failure) from failure

    def _not_written(self, error: OSError) -> OfflineError:
        return OfflineError(f"{self._path.name} cannot be written: {error.strerror or error}")

    @property
    def total(self) -> int:
        """How many rows were refused."""
        return self.counts.total()

    def refuse(self, rows: Rows, problem: NDArray[np.uint8]) -> None:
        """Note the rows whose problem, shape (n,), is not 0."""
        refused = np.flatnonzero(problem)
        texts = {name: _texts(rows.texts[name], refused) for name in self._columns if name in rows.texts}
        self.refuse_rows(rows.numbers(refused), problem[refused], texts)

    def refuse_rows(
        self, number: NDArray[np.int64], problem: NDArray[np.uint8], texts: Mapping[str, pa.Array]
    ) -> None:
        """Note rows, shape (n,) each, by what is in their columns: arrays of str, without nulls."""
        reasons: list[str] = []
        reason = np.empty(len(number), dtype=np.int64)
        for code in np.unique(problem).tolist():
            rows = np.flatnonzero(problem == code)
            self.counts[Problem(code).name.lower()] += len(rows)
            words, index = _reasons_of(Problem(code), texts, rows)
            reason[rows] = index + len(reasons)
            reasons += words
        self._write(number, chosen(reasons, reason), texts)

    def refuse_lines(self, lines: Sequence[BadLine]) -> None:
        """Note lines of a CSV file with too few or too many columns."""
        if not lines:
            return
        self.counts[Problem.COLUMNS.name.lower()] += len(lines)
        reasons = [f"{line.columns} columns, the header has {line.expected}" for line in lines]
        number = np.array([line.number for line in lines], dtype=np.int64)
        self._write(
            number, pa.array(reasons, type=_TEXT), {"line": pa.array([line.text for line in lines], _TEXT)}
        )

    def _write(self, number: NDArray[np.int64], reason: pa.Array, texts: Mapping[str, pa.Array]) -> None:
        nothing = pa.array([""], type=_TEXT).take(pa.array(np.zeros(len(number), dtype=np.int64)))
        columns = [texts.get(name, nothing) for name in (*self._columns, "line")]
        try:
            with self._lock:
                self._writer.write_table(pa.table([pa.array(number), reason, *columns], schema=self._schema))
        except OSError as error:
            raise self._not_written(error) from error


def _reasons_of(
    problem: Problem, texts: Mapping[str, pa.Array], rows: NDArray[np.intp]
) -> tuple[list[str], NDArray[np.intp]]:
    """The different reasons of some rows with one problem, and which of them each row has."""
    named = _NAMED[problem]
    if not named:
        return [_REASONS[problem]], np.zeros(len(rows), dtype=np.intp)
    encoded = [pc.dictionary_encode(texts[name].take(pa.array(rows))) for name in named]
    code = np.zeros(len(rows), dtype=np.int64)
    for column in encoded:
        code = code * len(column.dictionary) + column.indices.to_numpy(zero_copy_only=False)
        # Small again, whatever the next column has.
        code = np.unique(code, return_inverse=True)[1]
    _, first, index = np.unique(code, return_index=True, return_inverse=True)
    words = [column.take(pa.array(first)).cast(_TEXT).to_pylist() for column in encoded]
    found = [
        _REASONS[problem].format(**dict(zip(named, row, strict=True))) for row in zip(*words, strict=True)
    ]
    return found, index


def _texts(column: pa.Array, rows: NDArray[np.intp]) -> pa.Array:
    """Text of some rows of a column of any kind; nothing for null."""
    column = column.take(pa.array(rows))
    if pa.types.is_timestamp(column.type):
        column = rfc_3339(column.cast(pa.timestamp("ms", "UTC"), safe=False))
    return column.cast(_TEXT).fill_null("")
