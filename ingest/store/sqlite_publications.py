"""Publications in the SQLite store: what was served to the public, when, and of which reading."""

import math
import sqlite3
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ingest.store.ports import StoreRejectedError
from ingest.store.records import STATUS_CODES, ArrivalKind, PublicationColumns, PublicationRow, SeriesKey
from ingest.store.sqlite_arrivals import add_arrivals
from ingest.store.sqlite_facts import number_of
from ingest.store.sqlite_schema import HOUR_MS
from ingest.store.sqlite_session import Names

_PUBLISHED = """SELECT sensor_name.text, quantity_name.text,
    published_at_ms, measured_at_ms, value, status, stored_at_ms
    FROM published_value
    JOIN name AS sensor_name ON sensor_name.id = sensor
    JOIN name AS quantity_name ON quantity_name.id = quantity
    WHERE pool = ? AND sensor = ? AND quantity = ? AND published_at_ms >= ? AND published_at_ms < ?
    ORDER BY published_at_ms, publication, position"""
# The distinct series by skipping through the key: a plain DISTINCT would walk through all values of the pool.
_SERIES = """WITH RECURSIVE series (sensor, quantity) AS (
        SELECT * FROM (SELECT sensor, quantity FROM published_value WHERE pool = :pool
            ORDER BY sensor, quantity LIMIT 1)
        UNION ALL
        SELECT (SELECT sensor FROM published_value WHERE pool = :pool
                    AND (published_value.sensor, published_value.quantity) > (series.sensor, series.quantity)
                    ORDER BY sensor, quantity LIMIT 1),
               (SELECT quantity FROM published_value WHERE pool = :pool
                    AND (published_value.sensor, published_value.quantity) > (series.sensor, series.quantity)
                    ORDER BY sensor, quantity LIMIT 1)
        FROM series WHERE series.sensor IS NOT NULL)
    SELECT sensor, quantity FROM series WHERE sensor IS NOT NULL"""


def write_publications(
    connection: sqlite3.Connection, names: Names, rows: Sequence[PublicationRow], *, stored_at_ms: int
) -> None:
    """Store publications that are not there yet, with their values and arrivals."""
    new: Counter[tuple[str, int]] = Counter()
    for row in rows:
        pool = names.number(connection, row.pool_id)
        written = connection.execute(
            """INSERT OR IGNORE INTO publication
            (pool, published_at_ms, content_hash, replica, state, stored_at_ms) VALUES (?, ?, ?, ?, ?, ?)""",
            (pool, row.published_at_ms, row.content_hash, row.replica, row.state, stored_at_ms),
        )
        if not written.rowcount:
            continue
        new[row.pool_id, row.published_at_ms - row.published_at_ms % HOUR_MS] += 1
        for position, published in enumerate(row.values):
            status = STATUS_CODES.get(published.status)
            if status is None or (published.value is not None and not math.isfinite(published.value)):
                raise StoreRejectedError(
                    f"publication of {row.pool_id}: {published.quantity} has value {published.value} "
                    f"and status {published.status!r}; give a number or null, and a reading's status"
                )
            sensor = names.number(connection, published.sensor_id)
            quantity = names.number(connection, published.quantity)
            connection.execute(
                "INSERT INTO published_value VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    pool,
                    sensor,
                    quantity,
                    row.published_at_ms,
                    written.lastrowid,
                    position,
                    published.measured_at_ms,
                    published.value,
                    status,
                    stored_at_ms,
                ),
            )
            if published.value is not None:
                connection.execute(
                    """INSERT OR IGNORE INTO published_reading (pool, sensor, quantity, measured_at_ms)
                    VALUES (?, ?, ?, ?)""",
                    (pool, sensor, quantity, published.measured_at_ms),
                )
    add_arrivals(connection, ArrivalKind.PUBLICATION, new, stored_at_ms=stored_at_ms)


def read_publications(
    connection: sqlite3.Connection, pool_id: str, *, from_ms: int, to_ms: int
) -> dict[SeriesKey, PublicationColumns]:
    """Published values of a pool with from <= published_at < to, by series; none for a series without one."""
    pool = number_of(connection, pool_id)
    found: dict[SeriesKey, PublicationColumns] = {}
    for sensor, quantity in connection.execute(_SERIES, {"pool": pool}).fetchall():
        rows = connection.execute(_PUBLISHED, (pool, sensor, quantity, from_ms, to_ms)).fetchall()
        if not rows:
            continue
        sensor_ids, quantities, published_at_ms, measured_at_ms, value, status, stored_at_ms = zip(
            *rows, strict=True
        )
        found[SeriesKey(sensor_ids[0], quantities[0])] = PublicationColumns(
            published_at_ms=np.array(published_at_ms, dtype=np.int64),
            measured_at_ms=np.array(measured_at_ms, dtype=np.int64),
            value=np.array(value, dtype=np.float64),  # None becomes NaN
            status=np.array(status, dtype=np.uint8),
            stored_at_ms=np.array(stored_at_ms, dtype=np.int64),
        )
    return found


def count_publications(connection: sqlite3.Connection) -> tuple[int, int]:
    """Publications, and the distinct readings that were published with a value."""
    # Rows are never deleted, so the largest number is the count.
    (publications,) = connection.execute("SELECT coalesce(max(id), 0) FROM publication").fetchone()
    (readings,) = connection.execute("SELECT coalesce(max(id), 0) FROM published_reading").fetchone()
    return int(publications), int(readings)
