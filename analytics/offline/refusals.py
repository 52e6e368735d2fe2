"""Every refused row of a file by its number, its text and the reason, in `refused.csv`."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from analytics.offline.arrow import pa
from analytics.offline.errors import OfflineError
from analytics.offline.readings_file import COLUMNS, STATUS, BadLine
from analytics.offline.rows import Problem, Rows

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


class Refusals:
    """Writes refused rows as they come, and counts them by reason."""

    def __init__(self, path: Path, *, columns: Sequence[str] = (*COLUMNS, STATUS)) -> None:
        self.counts: Counter[str] = Counter()
        self._path = path
        self._columns = tuple(columns)

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise OfflineError(f"{self._path} cannot be written: {error.strerror}") from error
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(("row", "reason", *self._columns, "line"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def total(self) -> int:
        """How many rows were refused."""
        return self.counts.total()

    def refuse(self, rows: Rows, problem: NDArray[np.uint8]) -> None:
        """Note the rows whose problem, shape (n,), is not 0."""
        chosen = np.flatnonzero(problem)
        texts = {name: _texts(rows.texts[name], chosen) for name in self._columns if name in rows.texts}
        for place, (number, what) in enumerate(
            zip(rows.numbers(chosen).tolist(), problem[chosen].tolist(), strict=True)
        ):
            self.refuse_row(number, Problem(what), {name: column[place] for name, column in texts.items()})

    def refuse_row(self, number: int, problem: Problem, fields: Mapping[str, str]) -> None:
        """Note one row by what is in its columns."""
        self.counts[problem.name.lower()] += 1
        reason = _REASONS[problem].format(**fields)
        self._writer.writerow([number, reason, *(fields.get(name, "") for name in self._columns), ""])

    def refuse_lines(self, lines: Sequence[BadLine]) -> None:
        """Note lines of a CSV file with too few or too many columns."""
        for line in lines:
            self.counts[Problem.COLUMNS.name.lower()] += 1
            reason = f"{line.columns} columns, the header has {line.expected}"
            self._writer.writerow([line.number, reason, *("" for _ in self._columns), line.text])


def _texts(column: pa.Array, rows: NDArray[np.intp]) -> list[str]:
    return ["" if text is None else str(text) for text in column.take(pa.array(rows)).to_pylist()]
