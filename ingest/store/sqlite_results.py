"""Verdicts and pool states in the SQLite store: appended, with the current ones beside them."""

import sqlite3
from collections.abc import Sequence

from ingest.store.ports import StoreRejectedError
from ingest.store.records import PoolStateRow, VerdictRow
from ingest.store.sqlite_session import position_of

_FOR_EVER_MS = 2**62
_MINUTE_MS = 60_000
_KEEP_STATES_MS = 2 * 60 * _MINUTE_MS
#: A few at a time, from the oldest on: each write removes more than it adds.
_FORGET_STATES = """DELETE FROM pool_state WHERE id IN (SELECT id FROM pool_state ORDER BY id LIMIT 100)
    AND at_ms < ? AND id NOT IN (SELECT id FROM latest_pool_state)"""
_REVISION = """SELECT verdict_id, revision, kind, pool_id, state, start_ms, end_ms, judged_at_ms, body
    FROM verdict WHERE verdict_id = ? AND revision = ?"""
_REVISIONS = """SELECT verdict_id, revision, kind, pool_id, state, start_ms, end_ms, judged_at_ms, body
    FROM verdict WHERE verdict_id = ? ORDER BY revision"""
_AFTER = """SELECT verdict_id, revision, kind, pool_id, state, start_ms, end_ms, judged_at_ms, body, id
    FROM verdict WHERE id > ? ORDER BY id LIMIT ?"""
# An interval of no length counts where it lies. CROSS JOIN: from the pool's current verdicts to revisions.
_OVERLAPPING = """SELECT verdict.verdict_id, verdict.revision, kind, verdict.pool_id, state, verdict.start_ms,
    verdict.end_ms, judged_at_ms, body
    FROM current_verdict AS current CROSS JOIN verdict
    ON verdict.verdict_id = current.verdict_id AND verdict.revision = current.revision
    WHERE current.pool_id = ? AND current.start_ms < ?
    AND (current.end_ms IS NULL OR current.end_ms > ? OR current.start_ms >= ?)
    AND (? IS NULL OR kind = ?)
    ORDER BY current.start_ms, current.verdict_id"""


def write_verdicts(connection: sqlite3.Connection, rows: Sequence[VerdictRow]) -> None:
    """Append revisions; the same revision again changes nothing, another one of that number is rejected."""
    for row in rows:
        inserted = connection.execute(
            """INSERT OR IGNORE INTO verdict
            (verdict_id, revision, kind, pool_id, state, start_ms, end_ms, judged_at_ms, body)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            row,
        ).rowcount
        if not inserted:
            standing = connection.execute(_REVISION, (row.verdict_id, row.revision)).fetchone()
            if standing is None or VerdictRow(*standing) != row:
                raise StoreRejectedError(
                    f"verdict {row.verdict_id} of {row.pool_id}: another revision {row.revision} is stored "
                    "already; revisions are never overwritten. Are two analytics services judging this pool?"
                )
            continue
        connection.execute(
            """INSERT INTO current_verdict VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
            revision = excluded.revision, pool_id = excluded.pool_id, start_ms = excluded.start_ms,
            end_ms = excluded.end_ms WHERE excluded.revision > revision""",
            (row.verdict_id, row.revision, row.pool_id, row.start_ms, row.end_ms),
        )


def write_states(connection: sqlite3.Connection, rows: Sequence[PoolStateRow]) -> None:
    """Append states; the one written last is a pool's latest.

    Of the states before it, the last of each minute and of each condition stay, for two hours: a state is several
    thousand bytes, and a pool has a new one with each reading.
    """
    for row in rows:
        before = connection.execute(
            """SELECT pool_state.id, at_ms, state FROM latest_pool_state
            JOIN pool_state ON pool_state.id = latest_pool_state.id WHERE latest_pool_state.pool_id = ?""",
            (row.pool_id,),
        ).fetchone()
        state_id = connection.execute(
            "INSERT INTO pool_state (pool_id, at_ms, state, body) VALUES (?, ?, ?, ?)", row
        ).lastrowid
        connection.execute(
            "INSERT INTO latest_pool_state VALUES (?, ?) ON CONFLICT DO UPDATE SET id = excluded.id",
            (row.pool_id, state_id),
        )
        if before is not None:
            before_id, before_ms, before_state = before
            if before_state == row.state and before_ms // _MINUTE_MS == row.at_ms // _MINUTE_MS:
                connection.execute("DELETE FROM pool_state WHERE id = ?", (before_id,))
    if rows:
        connection.execute(_FORGET_STATES, (max(row.at_ms for row in rows) - _KEEP_STATES_MS,))


def write_progress(connection: sqlite3.Connection, cursor: str, reader: str) -> None:
    """Remember a reader's arrivals' cursor; StoreRejectedError if it is none."""
    position_of(cursor)
    connection.execute(
        "INSERT INTO progress VALUES (?, ?) ON CONFLICT DO UPDATE SET cursor = excluded.cursor",
        (reader, cursor),
    )


def read_progress(connection: sqlite3.Connection, reader: str) -> str | None:
    """Return the cursor that a reader remembered last; None before there is one."""
    found = connection.execute("SELECT cursor FROM progress WHERE reader = ?", (reader,)).fetchone()
    return None if found is None else str(found[0])


def read_least_progress(connection: sqlite3.Connection) -> str | None:
    """Return the cursor of the reader that is furthest behind; None before there is one."""
    found = connection.execute(
        "SELECT cursor FROM progress ORDER BY CAST(cursor AS INTEGER) LIMIT 1"
    ).fetchone()
    return None if found is None else str(found[0])


def read_verdicts(
    connection: sqlite3.Connection, pool_id: str, *, from_ms: int | None, to_ms: int | None, kind: str | None
) -> list[VerdictRow]:
    """Current revisions that overlap [from, to), by start."""
    begin_ms = -_FOR_EVER_MS if from_ms is None else from_ms
    end_ms = _FOR_EVER_MS if to_ms is None else to_ms
    found = connection.execute(_OVERLAPPING, (pool_id, end_ms, begin_ms, begin_ms, kind, kind)).fetchall()
    return [VerdictRow(*columns) for columns in found]


def read_revisions(connection: sqlite3.Connection, verdict_id: str) -> list[VerdictRow]:
    """Every revision of a verdict, oldest first."""
    return [VerdictRow(*columns) for columns in connection.execute(_REVISIONS, (verdict_id,)).fetchall()]


def verdicts_after(
    connection: sqlite3.Connection, cursor: str | None, *, limit: int
) -> tuple[list[VerdictRow], str]:
    """Revisions written since `cursor`, oldest first, and the cursor after them."""
    position = position_of(cursor)
    found = connection.execute(_AFTER, (position, limit)).fetchall()
    return [VerdictRow(*columns[:-1]) for columns in found], str(found[-1][-1] if found else position)


def read_states(connection: sqlite3.Connection) -> dict[str, PoolStateRow]:
    """Return the latest state of each pool that has one."""
    found = connection.execute(
        """SELECT pool_state.pool_id, at_ms, state, body FROM latest_pool_state
        JOIN pool_state ON pool_state.id = latest_pool_state.id ORDER BY pool_state.pool_id"""
    ).fetchall()
    return {columns[0]: PoolStateRow(*columns) for columns in found}


def states_after(
    connection: sqlite3.Connection, cursor: str | None, *, limit: int
) -> tuple[list[PoolStateRow], str]:
    """States written since `cursor`, oldest first, and the cursor after them."""
    position = position_of(cursor)
    found = connection.execute(
        "SELECT pool_id, at_ms, state, body, id FROM pool_state WHERE id > ? ORDER BY id LIMIT ?",
        (position, limit),
    ).fetchall()
    return [PoolStateRow(*columns[:-1]) for columns in found], str(found[-1][-1] if found else position)


def count_verdicts(connection: sqlite3.Connection) -> dict[str, int]:
    """Verdicts by kind, each once, without the withdrawn ones."""
    found = connection.execute(
        """SELECT kind, count(*) FROM current_verdict JOIN verdict
        ON verdict.verdict_id = current_verdict.verdict_id AND verdict.revision = current_verdict.revision
        WHERE state <> 'withdrawn' GROUP BY kind ORDER BY kind"""
    ).fetchall()
    return {kind: int(number) for kind, number in found}
