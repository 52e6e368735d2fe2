"""Writing readings into the SQLite store: all new ones together, what meets a stored one by itself."""

import sqlite3
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.sqlite_bulk import first_values, insert_columns
from ingest.store.batches import ReadingBatch, Series, WriteOutcome
from ingest.store.ports import StoreRejectedError
from ingest.store.records import STATUS_NAMES, ArrivalKind
from ingest.store.sqlite_arrivals import add_arrivals
from ingest.store.sqlite_meeting import Meetings
from ingest.store.sqlite_schema import BUCKET_MS, HOUR_MS
from ingest.store.sqlite_session import Names

_INSERT = """INSERT OR IGNORE INTO reading
    (bucket, series, measured_at_ms, value, status, received_at_ms, stored_at_ms, message, position)"""
_INSERT_MESSAGES = "INSERT INTO message (id, gateway, boot, seq)"
_SIGN = """UPDATE reading SET "by" = ?, method = ? WHERE bucket = ? AND series = ? AND measured_at_ms = ?"""
_EXTEND = "INSERT INTO extent (series, first_ms, latest_ms, readings)"
_OR_WIDEN = """ON CONFLICT DO UPDATE SET first_ms = min(first_ms, excluded.first_ms),
    latest_ms = max(latest_ms, excluded.latest_ms), readings = readings + excluded.readings"""
# Which of the wanted readings have a stored one, in one text; below zero if the stored one is the same of the same message.
_FIND = """WITH wanted (number, bucket, series, measured_at_ms, value, status, gateway, boot, seq, position) AS ("""
_FOUND = """) SELECT group_concat(CASE
        WHEN reading.value IS wanted.value AND reading.status = wanted.status AND message.gateway = wanted.gateway
            AND message.boot = wanted.boot AND message.seq = wanted.seq AND reading.position = wanted.position
            AND NOT EXISTS (SELECT 1 FROM displaced WHERE displaced.series = wanted.series
                AND displaced.measured_at_ms = wanted.measured_at_ms)
        THEN -number ELSE number END)
    FROM wanted CROSS JOIN reading ON reading.bucket = wanted.bucket AND reading.series = wanted.series
        AND reading.measured_at_ms = wanted.measured_at_ms
    JOIN message ON message.id = reading.message"""


def write_readings(
    connection: sqlite3.Connection, names: Names, batch: ReadingBatch, *, stored_at_ms: int
) -> WriteOutcome:
    """Store readings with series, extents and arrivals, within the caller's transaction."""
    if not len(batch):
        return WriteOutcome(stored=0)
    _check(batch)
    writing = _Writing(connection, names, batch, stored_at_ms)
    everything = np.arange(len(batch))
    connection.execute("SAVEPOINT all_new")
    if writing.insert(everything) == len(batch):
        connection.execute("RELEASE all_new")
        writing.finish(everything, frozenset())
        return WriteOutcome(stored=len(batch))
    # Some key was there already: look which.
    connection.execute("ROLLBACK TO all_new")
    connection.execute("RELEASE all_new")
    new, doubtful = writing.divide()
    writing.insert(new)
    meetings = Meetings(connection, names, stored_at_ms)
    also_new = [
        row
        for row in doubtful.tolist()
        if meetings.meet(batch.row(row), writing.key(row), writing.origin(row))
    ]
    stored = np.concatenate([new, np.array(also_new, dtype=np.int64)])
    writing.finish(stored, meetings.replaced)
    return WriteOutcome(
        stored=len(stored), duplicates=tuple(meetings.duplicates), conflicts=tuple(meetings.conflicts)
    )


def _check(batch: ReadingBatch) -> None:
    bad = np.flatnonzero(np.isinf(batch.value) | (batch.status >= len(STATUS_NAMES)))
    if len(bad):
        row = int(bad[0])
        series = batch.series[batch.series_number[row]]
        raise StoreRejectedError(
            f"reading of {series.pool_id}/{series.sensor_id} has value {batch.value[row]} and status code "
            f"{batch.status[row]}; give a number or null, and a reading's status"
        )


class _Writing:
    """A batch on its way, with the file's numbers for its series and messages."""

    def __init__(
        self, connection: sqlite3.Connection, names: Names, batch: ReadingBatch, stored_at_ms: int
    ) -> None:
        self._connection = connection
        self._batch = batch
        self._stored_at_ms = stored_at_ms
        used, place = np.unique(batch.series_number, return_inverse=True)
        self._of_series: list[Series] = [batch.series[number] for number in used.tolist()]
        self._series_place = place
        self._series = np.array(
            [names.series_number(connection, series) for series in self._of_series], dtype=np.int64
        )[place]
        self._bucket = batch.measured_at_ms // BUCKET_MS
        sources, self._source = np.unique(batch.origin_number, return_inverse=True)
        origins = [batch.origins[number] for number in sources.tolist()]
        self._gateway = [names.number(connection, origin.gateway_id) for origin in origins]
        self._boot = [names.number(connection, origin.boot_id) for origin in origins]
        self._seq = [origin.seq for origin in origins]
        self._received_at_ms = np.array([origin.received_at_ms for origin in origins], dtype=np.int64)

    def key(self, row: int) -> tuple[int, int, int]:
        """Bucket, series and instant of a reading."""
        return int(self._bucket[row]), int(self._series[row]), int(self._batch.measured_at_ms[row])

    def origin(self, row: int) -> tuple[int, int, int]:
        """Gateway, boot and seq of a reading's message, names as numbers."""
        source = self._source[row]
        return self._gateway[source], self._boot[source], self._seq[source]

    def insert(self, rows: NDArray[np.int64]) -> int:
        """Insert readings whose key is not there, with their messages; returns how many were inserted."""
        if not len(rows):
            return 0
        batch = self._batch
        message = self._insert_messages(np.unique(self._source[rows]))
        # In the order of the table, so that neighbours go to one page.
        order = rows[np.lexsort((batch.measured_at_ms[rows], self._series[rows], self._bucket[rows]))]
        source = self._source[order]
        inserted = insert_columns(
            self._connection,
            _INSERT,
            [
                self._bucket[order].tolist(),
                self._series[order].tolist(),
                batch.measured_at_ms[order].tolist(),
                _values(batch.value[order]),
                batch.status[order].tolist(),
                self._received_at_ms[source].tolist(),
                [self._stored_at_ms] * len(order),
                message[source].tolist(),
                batch.position[order].tolist(),
            ],
        )
        if batch.signatures:
            chosen = batch.signatures.keys() & set(rows.tolist())
            self._connection.executemany(
                _SIGN, [(*batch.signatures[row], *self.key(row)) for row in sorted(chosen)]
            )
        return inserted

    def _insert_messages(self, sources: NDArray[np.int64]) -> NDArray[np.int64]:
        """Insert messages; returns each one's number in the file, by its place among the batch's messages."""
        (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM message").fetchone()
        numbers = np.zeros(len(self._seq), dtype=np.int64)
        numbers[sources] = last + 1 + np.arange(len(sources))
        chosen = sources.tolist()
        insert_columns(
            self._connection,
            _INSERT_MESSAGES,
            [
                numbers[sources].tolist(),
                [self._gateway[source] for source in chosen],
                [self._boot[source] for source in chosen],
                [self._seq[source] for source in chosen],
            ],
        )
        return numbers

    def divide(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows that are new without doubt, and rows to be looked at one by one.

        In neither are those that the file has already, from the same message and unchallenged.
        """
        batch = self._batch
        number = len(batch)
        texts = first_values(
            self._connection,
            _FIND,
            [
                list(range(1, number + 1)),
                self._bucket.tolist(),
                self._series.tolist(),
                batch.measured_at_ms.tolist(),
                _values(batch.value),
                batch.status.tolist(),
                [self._gateway[source] for source in self._source.tolist()],
                [self._boot[source] for source in self._source.tolist()],
                [self._seq[source] for source in self._source.tolist()],
                batch.position.tolist(),
            ],
            after=_FOUND,
        )
        found = np.array([part for text in texts if text for part in text.split(",")], dtype=np.int64)
        # A key that is in the batch twice is doubtful too, whatever the file has.
        _, of_key, times = np.unique(
            np.stack([self._series, batch.measured_at_ms]), axis=1, return_inverse=True, return_counts=True
        )
        doubtful = times[of_key] > 1
        doubtful[found[found > 0] - 1] = True
        known = np.zeros(number, dtype=np.bool_)
        known[-found[found < 0] - 1] = True
        return np.flatnonzero(~doubtful & ~known), np.flatnonzero(doubtful)

    def finish(self, stored: NDArray[np.int64], replaced: frozenset[tuple[str, int]]) -> None:
        """Widen the series by the readings that became new, and tell what arrived.

        An hour in which a reading was replaced arrives too, with no row.
        """
        if len(stored):
            self._extend(stored)
        by_hour = self._count_hours(stored)
        for hours in (by_hour, dict.fromkeys(replaced, 0)):
            add_arrivals(self._connection, ArrivalKind.READINGS, hours, stored_at_ms=self._stored_at_ms)

    def _extend(self, stored: NDArray[np.int64]) -> None:
        series, instants_ms = self._series[stored], self._batch.measured_at_ms[stored]
        order = np.lexsort((instants_ms, series))
        series, instants_ms = series[order], instants_ms[order]
        begins = np.flatnonzero(np.diff(series, prepend=-1))
        ends = np.append(begins[1:], len(series))
        insert_columns(
            self._connection,
            _EXTEND,
            [
                series[begins].tolist(),
                instants_ms[begins].tolist(),
                instants_ms[ends - 1].tolist(),
                (ends - begins).tolist(),
            ],
            after=_OR_WIDEN,
        )

    def _count_hours(self, stored: NDArray[np.int64]) -> Counter[tuple[str, int]]:
        by_hour: Counter[tuple[str, int]] = Counter()
        places = np.stack([self._series_place[stored], self._batch.measured_at_ms[stored] // HOUR_MS])
        found, rows = _unique_pairs(places)
        for (place, hour), number in zip(found, rows, strict=True):
            by_hour[self._of_series[place].pool_id, hour * HOUR_MS] += number
        return by_hour


def _unique_pairs(pairs: NDArray[np.int64]) -> tuple[list[tuple[int, int]], list[int]]:
    """Distinct columns of an array of shape (2, n), and how often each is there."""
    order = np.lexsort((pairs[1], pairs[0]))
    first, second = pairs[0][order], pairs[1][order]
    changes = np.ones(len(order), dtype=np.bool_)
    changes[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    begins = np.flatnonzero(changes)
    counts = np.diff(np.append(begins, len(order)))
    return list(zip(first[begins].tolist(), second[begins].tolist(), strict=True)), counts.tolist()


def _values(value: NDArray[np.float64]) -> list[Any]:
    """Values as SQLite takes them: None where null."""
    listed: list[Any] = value.tolist()
    for row in np.flatnonzero(np.isnan(value)).tolist():
        listed[row] = None
    return listed
