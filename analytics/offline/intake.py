"""From the rows of a file to readings on grids or put aside, samples, statuses, and refused rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.offline.ahead import read_ahead
from analytics.offline.readings_file import ReadingsFile
from analytics.offline.refusals import Refusals
from analytics.offline.registered import MANUAL, NONE, Known, SeriesBook
from analytics.offline.rows import Rows
from analytics.spans import FAR_MS
from gateway.contract.readings import MANUAL_SENSOR
from ingest.store.records import StatusCode

Progress = Callable[[int], None]


class Sink(Protocol):
    """Where the readings of probes go."""

    def add(
        self,
        *,
        series: NDArray[np.integer],
        at_ms: NDArray[np.int64],
        number: NDArray[np.int64] | None,
        value: NDArray[np.floating],
    ) -> None:
        """Take rows, shape (n,) each; `number` only if `wants_numbers`."""

    @property
    def wants_numbers(self) -> bool:
        """Whether it asks for the rows' numbers in the file."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A result by a person."""

    pool: int
    sensor_id: str
    quantity: int
    at_ms: int
    value: float
    status: int
    number: int


@dataclass(slots=True)
class Intake:
    """What was found in a file.

    `first_ms`, `last_ms`: of the readings and samples taken; FAR_MS and -FAR_MS for none. `readings`: how many rows
    went to the sink. `statuses`: parts of (series, at_ms, code) of those that are not normal.
    """

    n_rows: int
    outside: int
    without_value: int
    first_ms: int
    last_ms: int
    readings: int
    samples: list[Sample] = field(default_factory=list)
    statuses: list[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.uint8]]] = field(
        default_factory=list
    )


def take_in(
    file: ReadingsFile,
    *,
    book: SeriesBook,
    sink: Sink,
    refusals: Refusals | None,
    from_ms: int,
    to_ms: int,
    lead_ms: int,
    progress: Progress,
    only: NDArray[np.bool_] | None = None,
) -> Intake:
    """Read a file once.

    Parameters
    ----------
    file : ReadingsFile
    book : SeriesBook
    sink : Sink
        Takes what probes measured from `from_ms - lead_ms` on.
    refusals : Refusals or None
        None: the refused rows are known already.
    from_ms, to_ms : int
        Rows outside of [from, to) are counted. [ms]
    lead_ms : int
        So far before `from_ms` readings are taken all the same, for what they say of the time after it. [ms]
    progress : callable
        Is told the number of rows read so far.
    only : ndarray of bool, shape (series,), or None
        Series that are wanted.
    """
    found = Intake(
        n_rows=0,
        outside=0,
        without_value=0,
        first_ms=FAR_MS,
        last_ms=-FAR_MS,
        readings=0,
    )
    batches = file.batches() if refusals is None else file.batches(refusals.refuse_lines)
    for rows in read_ahead(batches):
        known = book.known(rows)
        if refusals is not None and known.problem is not None:
            refusals.refuse(rows, known.problem)
        _sort(found, rows, known, sink, from_ms=from_ms, to_ms=to_ms, lead_ms=lead_ms, only=only)
        found.n_rows += len(rows)
        progress(found.n_rows)
    return found


def _sort(
    found: Intake,
    rows: Rows,
    known: Known,
    sink: Sink,
    *,
    from_ms: int,
    to_ms: int,
    lead_ms: int,
    only: NDArray[np.bool_] | None,
) -> None:
    at_ms, value, series, status = rows.at_ms, rows.value, known.series, known.status
    left_out = _left_out(found, rows, known, from_ms=from_ms, to_ms=to_ms, lead_ms=lead_ms, only=only)
    number: NDArray[np.int64] | None = None
    if left_out is not None and left_out.any():
        kept = np.flatnonzero(~left_out)
        series, at_ms, value = series[kept], at_ms[kept], value[kept]
        status = None if status is None else status[kept]
        number = rows.numbers(kept) if sink.wants_numbers else None
    elif sink.wants_numbers:
        number = rows.numbers(np.arange(len(rows)))
    if not len(series):
        return
    if status is not None and status.any():
        other = np.flatnonzero(status)
        found.statuses.append((series[other], at_ms[other], status[other]))
    found.readings += len(series)
    found.first_ms = min(found.first_ms, int(at_ms.min()))
    found.last_ms = max(found.last_ms, int(at_ms.max()))
    sink.add(series=series, at_ms=at_ms, number=number, value=value)


def _left_out(
    found: Intake,
    rows: Rows,
    known: Known,
    *,
    from_ms: int,
    to_ms: int,
    lead_ms: int,
    only: NDArray[np.bool_] | None,
) -> NDArray[np.bool_] | None:
    """Rows that are no readings of probes for the sink, counted by why; tests by people are kept."""
    at_ms, value, series, status = rows.at_ms, rows.value, known.series, known.status
    left_out = None if known.problem is None else known.problem > 0
    if len(at_ms) and (int(at_ms.min()) < from_ms or int(at_ms.max()) >= to_ms):
        outside = (at_ms < from_ms) | (at_ms >= to_ms)
        if left_out is not None:
            outside &= ~left_out
        found.outside += int(np.count_nonzero(outside))
        left_out = _or(left_out, (at_ms < from_ms - lead_ms) | (at_ms >= to_ms))
    if status is not None:
        people = (series == MANUAL) | (status == StatusCode.MANUAL) | (status == StatusCode.LABORATORY)
        if people.any():
            _samples(found, rows, known, status, np.flatnonzero(_but(people, left_out)))
            left_out = _or(left_out, people)
    if only is not None:
        left_out = _or(left_out, ~only[series])
    if rows.value_problem is not None:
        absent = np.isnan(value)
        found.without_value += int(np.count_nonzero(_but(absent, left_out)))
        left_out = _or(left_out, absent)
    return left_out


def _or(one: NDArray[np.bool_] | None, other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return other if one is None else one | other


def _but(one: NDArray[np.bool_], other: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    return one if other is None else one & ~other


def _samples(
    found: Intake, rows: Rows, known: Known, status: NDArray[np.uint8], chosen: NDArray[np.intp]
) -> None:
    pool_of, quantity_of = known.pool(chosen), known.quantity(chosen)
    for place, pool, quantity, number in zip(
        chosen.tolist(), pool_of.tolist(), quantity_of.tolist(), rows.numbers(chosen).tolist(), strict=True
    ):
        at_ms = int(rows.at_ms[place])
        by_hand = int(known.series[place]) in (MANUAL, NONE)
        name = MANUAL_SENSOR if by_hand else rows.sensor.words[rows.sensor.code[place]]
        found.samples.append(
            Sample(
                pool,
                name,
                quantity,
                at_ms,
                float(rows.value[place]),
                int(status[place]),
                number,
            )
        )
        found.first_ms, found.last_ms = min(found.first_ms, at_ms), max(found.last_ms, at_ms)
