"""A file of publications: which value of which sensor was shown to the public from when on."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from analytics.offline.ahead import read_ahead
from analytics.offline.readings_file import COLUMNS, PUBLISHED_AT, open_readings
from analytics.offline.refusals import Refusals
from analytics.offline.registered import MANUAL, QUANTITIES, SeriesBook
from analytics.offline.rows import Problem
from analytics.offline.spill import PUBLICATION, Records, Spill, bounds_of
from gateway.contract.readings import MANUAL_SENSOR
from ingest.store.records import PublicationColumns, SeriesKey, StatusCode

#: What is wrong with the time of a publication, by what would be wrong with the time of a reading.
_OF_PUBLISHED = np.zeros(len(Problem), dtype=np.uint8)
_OF_PUBLISHED[Problem.NO_TIME] = Problem.NOT_PUBLISHED
_OF_PUBLISHED[Problem.NO_ZONE] = Problem.PUBLISHED_NO_ZONE
_OF_PUBLISHED[Problem.BAD_TIME] = Problem.PUBLISHED_BAD_TIME

PUBLICATION_COLUMNS = (*COLUMNS, PUBLISHED_AT)


class PublicationsAside:
    """Publications of results, put aside by pool until its block is judged; `series` beyond the book's are by hand."""

    def __init__(self, book: SeriesBook) -> None:
        self._book = book
        by_hand = np.repeat(np.arange(len(book.pools)), len(QUANTITIES))
        bounds = bounds_of(book.first)
        self._spill = Spill(bounds=bounds, pool_of=np.concatenate((book.pool_of, by_hand)), row=PUBLICATION)
        self._kept: tuple[int, Records] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept = None
        self._spill.__exit__(kind, error, trace)

    def put(self, publications: Records) -> None:
        """Put some aside."""
        self._spill.put(publications)

    def of_pools(self, pool_from: int, pool_to: int) -> Records:
        """At least those of the pools [from, to), in the order of the file within a pool."""
        bounds = self._spill.bounds
        parts = [
            self._part(part)
            for part in range(self._spill.n_parts)
            if bounds[part] < pool_to and bounds[part + 1] > pool_from
        ]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype=PUBLICATION), *parts])

    def of_pool(self, pool: int) -> dict[SeriesKey, PublicationColumns]:
        """Those of one pool by series, sorted by when they were published."""
        book, rows = self._book, self.of_pools(pool, pool + 1)
        number = np.ascontiguousarray(rows["series"]).astype(np.int64)
        hand = number - len(book.series) - pool * len(QUANTITIES)
        own = (number >= book.first[pool]) & (number < book.first[pool + 1])
        own |= (hand >= 0) & (hand < len(QUANTITIES))
        rows, number = rows[own], number[own]
        order = np.lexsort((rows["at_ms"], number))
        found = {}
        for of_series in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
            if not len(of_series):
                continue
            first = int(number[of_series[0]])
            if first < len(book.series):
                one = book.series[first]
                name, quantity = one.sensor.sensor_id, one.quantity
            else:
                name, quantity = MANUAL_SENSOR, (first - len(book.series)) % len(QUANTITIES)
            published_ms = rows["at_ms"][of_series]
            found[SeriesKey(name, QUANTITIES[quantity])] = PublicationColumns(
                published_at_ms=published_ms,
                measured_at_ms=rows["measured_ms"][of_series],
                # What was published is not kept: that it was a result is.
                value=np.zeros(len(of_series)),
                status=np.zeros(len(of_series), dtype=np.uint8),
                stored_at_ms=published_ms,
            )
        return found

    def _part(self, part: int) -> Records:
        if self._kept is None or self._kept[0] != part:
            self._kept = (part, self._spill.rows(part))
        return self._kept[1]


def read_publications(path: Path, *, aside: PublicationsAside, book: SeriesBook, refusals: Refusals) -> int:
    """Put the published results of a file aside; how many rows it has.

    An empty value, or one whose status says that it is no result, says that the page showed none: it serves no duty, so
    it is left out.

    Raises
    ------
    OfflineError
        If the file cannot be read or lacks a column.
    """
    file = open_readings(path, needed=PUBLICATION_COLUMNS)
    n_rows = 0
    for rows in read_ahead(file.batches(refusals.refuse_lines)):
        known = book.known(rows)
        problem = np.zeros(len(rows), dtype=np.uint8) if known.problem is None else known.problem.copy()
        problem[problem == Problem.NO_VALUE] = 0
        n_rows += len(rows)
        if rows.published is None:
            continue
        published_ms, published_problem = rows.published
        if published_problem is not None:
            problem = np.where(problem > 0, problem, _OF_PUBLISHED[published_problem])
        if problem.any():
            refusals.refuse(rows, problem)
        kept = (problem == 0) & ~np.isnan(rows.value)
        if known.status is not None:
            kept &= known.status <= StatusCode.LABORATORY
        chosen = np.flatnonzero(kept)
        hand = known.pool(chosen).astype(np.int64) * len(QUANTITIES) + known.quantity(chosen)
        found = np.empty(len(chosen), dtype=PUBLICATION)
        series = known.series[chosen]
        found["series"] = np.where(series == MANUAL, len(book.series) + hand, series)
        found["at_ms"], found["measured_ms"] = published_ms[chosen], rows.at_ms[chosen]
        aside.put(found)
    return n_rows + refusals.counts["columns"]
