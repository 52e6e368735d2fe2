"""Arrivals of the SQLite store: what became new, numbered in the transaction that made it new.

Writers take turns (`BEGIN IMMEDIATE`): numbers become visible in their order, a reader's cursor misses none.
"""

import sqlite3
from collections.abc import Mapping
from itertools import accumulate

from ingest.sqlite_bulk import insert_columns
from ingest.store.records import Arrival, ArrivalKind
from ingest.store.sqlite_session import position_of


def add_arrivals(
    connection: sqlite3.Connection,
    kind: ArrivalKind,
    rows_by_hour: Mapping[tuple[str, int], int],
    *,
    stored_at_ms: int,
) -> None:
    """Append one arrival per (pool, hour), within the caller's transaction."""
    if not rows_by_hour:
        return
    found = sorted(rows_by_hour.items())
    numbers = [rows for _, rows in found]
    so_far = _readings_so_far(connection, None)
    counted = [0] * len(found) if kind is not ArrivalKind.READINGS else accumulate(numbers)
    insert_columns(
        connection,
        "INSERT INTO arrival (kind, pool_id, hour_ms, rows, stored_at_ms, readings_so_far)",
        [
            [kind.value] * len(found),
            [pool_id for (pool_id, _), _ in found],
            [hour_ms for (_, hour_ms), _ in found],
            numbers,
            [stored_at_ms] * len(found),
            [so_far + number for number in counted],
        ],
    )


def arrivals_after(
    connection: sqlite3.Connection, cursor: str | None, *, limit: int
) -> tuple[list[Arrival], str]:
    """Arrivals since `cursor`, oldest first, and the cursor after them."""
    position = position_of(cursor)
    found = connection.execute(
        "SELECT id, kind, pool_id, hour_ms, rows, stored_at_ms FROM arrival WHERE id > ? ORDER BY id LIMIT ?",
        (position, limit),
    ).fetchall()
    arrivals = [Arrival(ArrivalKind(kind), *rest) for _, kind, *rest in found]
    return arrivals, str(found[-1][0] if found else position)


def readings_after(connection: sqlite3.Connection, cursor: str | None) -> int:
    """Sum of `rows` over the arrivals of readings since `cursor`."""
    return _readings_so_far(connection, None) - _readings_so_far(connection, position_of(cursor))


def _readings_so_far(connection: sqlite3.Connection, position: int | None) -> int:
    """Sum of `rows` over the arrivals of readings up to a position; None for all."""
    up_to = 2**63 - 1 if position is None else position
    found = connection.execute(
        "SELECT readings_so_far FROM arrival WHERE id <= ? ORDER BY id DESC LIMIT 1", (up_to,)
    ).fetchone()
    return 0 if found is None else int(found[0])
