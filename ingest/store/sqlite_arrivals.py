"""Arrivals of the SQLite store: what became new, numbered in the transaction that made it new.

Writers take turns (`BEGIN IMMEDIATE`): numbers become visible in their order, a reader's cursor misses none.
"""

import sqlite3
from collections.abc import Mapping

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
    last = connection.execute("SELECT readings_so_far FROM arrival ORDER BY id DESC LIMIT 1").fetchone()
    so_far = 0 if last is None else last[0]
    for (pool_id, hour_ms), rows in sorted(rows_by_hour.items()):
        if kind is ArrivalKind.READINGS:
            so_far += rows
        connection.execute(
            """INSERT INTO arrival (kind, pool_id, hour_ms, rows, stored_at_ms, readings_so_far)
            VALUES (?, ?, ?, ?, ?, ?)""",
            (kind.value, pool_id, hour_ms, rows, stored_at_ms, so_far),
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


def readings_up_to(connection: sqlite3.Connection, cursor: str | None) -> int:
    """Sum of `rows` over the arrivals of readings up to `cursor`."""
    found = connection.execute(
        "SELECT readings_so_far FROM arrival WHERE id <= ? ORDER BY id DESC LIMIT 1", (position_of(cursor),)
    ).fetchone()
    return 0 if found is None else int(found[0])
