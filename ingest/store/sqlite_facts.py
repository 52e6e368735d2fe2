"""The other facts that ingest writes into the SQLite store, and the reading of all of them."""

import sqlite3
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ingest.sqlite_bulk import insert_columns
from ingest.store.records import (
    ArrivalKind,
    GatewayStatusRow,
    LogbookRow,
    ReadingColumns,
    RegistryVersionRow,
    SeriesKey,
)
from ingest.store.sqlite_arrivals import add_arrivals
from ingest.store.sqlite_schema import BUCKET_MS, HOUR_MS
from ingest.store.sqlite_session import Names

_SERIES = """SELECT series, sensor_name.text, quantity_name.text, first_ms, latest_ms FROM series
    JOIN extent ON extent.series = series.id
    JOIN name AS sensor_name ON sensor_name.id = sensor
    JOIN name AS quantity_name ON quantity_name.id = quantity
    WHERE pool = ? ORDER BY sensor_name.text, quantity_name.text"""
# CROSS JOIN keeps the order of loops: one seek a bucket, never a scan over all pools of the buckets.
_SPAN = """WITH RECURSIVE span (bucket) AS (SELECT ? UNION ALL SELECT bucket + 1 FROM span WHERE bucket < ?)
    SELECT measured_at_ms, value, status, received_at_ms, stored_at_ms
    FROM span CROSS JOIN reading ON reading.bucket = span.bucket
    WHERE series = ? AND measured_at_ms >= ? AND measured_at_ms < ?
    ORDER BY span.bucket, measured_at_ms"""
# The gateways by skipping through the key: statuses of years lie between them.
_GATEWAYS = """WITH RECURSIVE gateway (id) AS (
        SELECT min(gateway_id) FROM gateway_status
        UNION ALL
        SELECT (SELECT min(gateway_id) FROM gateway_status WHERE gateway_id > gateway.id)
        FROM gateway WHERE gateway.id IS NOT NULL)
    SELECT id FROM gateway WHERE id IS NOT NULL"""


def write_logbook(
    connection: sqlite3.Connection, names: Names, rows: Sequence[LogbookRow], *, stored_at_ms: int
) -> None:
    """Store logbook entries that are not there yet, with arrivals."""
    new: Counter[tuple[str, int]] = Counter()
    for row in rows:
        inserted = connection.execute(
            "INSERT OR IGNORE INTO logbook VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                names.number(connection, row.gateway_id),
                names.number(connection, row.boot_id),
                row.seq,
                row.position,
                names.number(connection, row.pool_id),
                row.kind,
                row.at_ms,
                row.received_at_ms,
                stored_at_ms,
                row.body,
            ),
        ).rowcount
        if inserted:
            new[row.pool_id, row.at_ms - row.at_ms % HOUR_MS] += 1
    add_arrivals(connection, ArrivalKind.LOGBOOK, new, stored_at_ms=stored_at_ms)


def write_statuses(connection: sqlite3.Connection, rows: Sequence[GatewayStatusRow]) -> None:
    """Store what gateways say of themselves; no arrival, nothing is judged by it."""
    if rows:
        insert_columns(
            connection,
            "INSERT OR IGNORE INTO gateway_status (gateway_id, received_at_ms, state, boot_id, body)",
            [[row[place] for row in rows] for place in range(len(GatewayStatusRow._fields))],
        )


def write_registry_versions(
    connection: sqlite3.Connection, rows: Sequence[RegistryVersionRow], *, stored_at_ms: int
) -> None:
    """Store accepted versions of the registry, with an arrival for the new ones."""
    new = sum(
        connection.execute(
            "INSERT OR IGNORE INTO registry_version VALUES (?, ?, ?)",
            (row.accepted_at_ms, row.sha256, row.text),
        ).rowcount
        for row in rows
    )
    if new:
        add_arrivals(connection, ArrivalKind.REGISTRY, {("", 0): new}, stored_at_ms=stored_at_ms)


def number_of(connection: sqlite3.Connection, text: str) -> int | None:
    """Return the number of a name; None if the store never met it."""
    found = connection.execute("SELECT id FROM name WHERE text = ?", (text,)).fetchone()
    return None if found is None else int(found[0])


def read_columns(
    connection: sqlite3.Connection, pool_id: str, *, from_ms: int, to_ms: int
) -> dict[SeriesKey, ReadingColumns]:
    """Readings of a pool within [from, to), by series; series without one are left out."""
    pool = number_of(connection, pool_id)
    found: dict[SeriesKey, ReadingColumns] = {}
    for series, sensor_id, quantity_name, first_ms, latest_ms in connection.execute(
        _SERIES, (pool,)
    ).fetchall():
        begin_ms, end_ms = max(from_ms, first_ms), min(to_ms, latest_ms + 1)
        if begin_ms >= end_ms:
            continue
        rows = connection.execute(
            _SPAN,
            (begin_ms // BUCKET_MS, (end_ms - 1) // BUCKET_MS, series, begin_ms, end_ms),
        ).fetchall()
        if rows:
            found[SeriesKey(sensor_id, quantity_name)] = _columns(rows)
    return found


def read_latest(connection: sqlite3.Connection, pool_id: str) -> dict[SeriesKey, ReadingColumns]:
    """Return the newest reading of each series of a pool: arrays of shape (1,)."""
    pool = number_of(connection, pool_id)
    return {
        SeriesKey(sensor_id, quantity_name): _columns(
            connection.execute(
                _SPAN,
                (
                    latest_ms // BUCKET_MS,
                    latest_ms // BUCKET_MS,
                    series,
                    latest_ms,
                    latest_ms + 1,
                ),
            ).fetchall()
        )
        for series, sensor_id, quantity_name, _, latest_ms in connection.execute(_SERIES, (pool,)).fetchall()
    }


def _columns(rows: list[tuple[int, float | None, int, int, int]]) -> ReadingColumns:
    measured_at_ms, value, status, received_at_ms, stored_at_ms = zip(*rows, strict=True)
    return ReadingColumns(
        measured_at_ms=np.array(measured_at_ms, dtype=np.int64),
        value=np.array(value, dtype=np.float64),  # None becomes NaN
        status=np.array(status, dtype=np.uint8),
        received_at_ms=np.array(received_at_ms, dtype=np.int64),
        stored_at_ms=np.array(stored_at_ms, dtype=np.int64),
    )


def read_first_ms(connection: sqlite3.Connection, pool_id: str) -> int | None:
    """`measured_at` of the oldest reading of a pool; None if it has none."""
    (first_ms,) = connection.execute(
        "SELECT min(first_ms) FROM series JOIN extent ON extent.series = series.id WHERE pool = ?",
        (number_of(connection, pool_id),),
    ).fetchone()
    return None if first_ms is None else int(first_ms)


def read_logbook(
    connection: sqlite3.Connection, pool_id: str, *, from_ms: int, to_ms: int
) -> list[LogbookRow]:
    """Logbook entries of a pool with from <= at < to, by `at`, then by message."""
    found = connection.execute(
        """SELECT kind, at_ms, received_at_ms, gateway_name.text, boot_name.text, seq, position, body
        FROM logbook
        JOIN name AS gateway_name ON gateway_name.id = gateway JOIN name AS boot_name ON boot_name.id = boot
        WHERE pool = ? AND at_ms >= ? AND at_ms < ?
        ORDER BY at_ms, received_at_ms, gateway_name.text, boot_name.text, seq, position""",
        (number_of(connection, pool_id), from_ms, to_ms),
    )
    return [LogbookRow(pool_id, *columns) for columns in found.fetchall()]


def read_registry_text(connection: sqlite3.Connection) -> str | None:
    """Return the newest accepted registry; None before there is one."""
    found = connection.execute(
        "SELECT text FROM registry_version ORDER BY accepted_at_ms DESC, sha256 LIMIT 1"
    ).fetchone()
    return None if found is None else str(found[0])


def read_statuses(connection: sqlite3.Connection) -> dict[str, GatewayStatusRow]:
    """Newest status of each gateway that has said one."""
    newest = """SELECT gateway_id, received_at_ms, state, boot_id, body FROM gateway_status
        WHERE gateway_id = ? ORDER BY received_at_ms DESC, id DESC LIMIT 1"""
    return {
        gateway_id: GatewayStatusRow(*connection.execute(newest, (gateway_id,)).fetchone())
        for (gateway_id,) in connection.execute(_GATEWAYS).fetchall()
    }


def count_readings(connection: sqlite3.Connection, *, from_ms: int, to_ms: int) -> dict[str, int]:
    """Count the readings with from <= measured_at < to in their table, by pool."""
    by_pool: Counter[str] = Counter()
    for pool_id, number in connection.execute(
        """SELECT text, counted FROM
            (SELECT series AS of_series, count(*) AS counted FROM reading
            WHERE bucket BETWEEN ? AND ? AND measured_at_ms >= ? AND measured_at_ms < ? GROUP BY series)
        JOIN series ON series.id = of_series JOIN name ON name.id = pool""",
        (from_ms // BUCKET_MS, to_ms // BUCKET_MS, from_ms, to_ms),
    ).fetchall():
        by_pool[pool_id] += number
    return dict(by_pool)


def tally_readings(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many readings each pool has, as noted while they were written."""
    return dict(
        connection.execute(
            """SELECT text, sum(readings) FROM extent JOIN series ON series.id = extent.series
            JOIN name ON name.id = pool GROUP BY pool ORDER BY text"""
        ).fetchall()
    )


def count_logbook(connection: sqlite3.Connection) -> dict[str, int]:
    """Count the logbook entries of each pool."""
    return dict(
        connection.execute(
            "SELECT text, count(*) FROM logbook JOIN name ON name.id = pool GROUP BY pool ORDER BY text"
        ).fetchall()
    )
