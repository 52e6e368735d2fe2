"""The outbox's first format, one row a message for ever: its account, and bringing it to today's."""

import sqlite3
from collections.abc import Sequence

from gateway.outbox_groups import StoredMessage, insert_group
from gateway.outbox_packing import DEAD, DEAD_IN_SILENCE, GROUP_SPAN
from gateway.outbox_records import OutboxAccount


def account_of_format_1(connection: sqlite3.Connection) -> OutboxAccount:
    """Totals of a file that nobody has opened for writing since the format changed."""

    def totals(query: str) -> tuple[int, int]:
        messages, readings = connection.execute(query).fetchone()
        return messages, readings

    return OutboxAccount(
        *totals("SELECT coalesce(sum(next_seq), 0), coalesce(sum(readings), 0) FROM boot"),
        *totals("SELECT count(*), coalesce(sum(readings), 0) FROM message"),
        *totals("SELECT count(*), coalesce(sum(readings), 0) FROM dead_message"),
        *totals("SELECT coalesce(sum(messages), 0), coalesce(sum(readings), 0) FROM dropped"),
        boots=dict(connection.execute("SELECT boot_id, next_seq FROM boot").fetchall()),
    )


def migrate_format_1(connection: sqlite3.Connection, schema: Sequence[str]) -> None:
    """Pack everything that a file of the first format holds, within the caller's transaction.

    Packed messages go into pages that were freed just before, so that a disk that is almost full is enough.

    Raises
    ------
    sqlite3.Error
        If the disk cannot even take that; the caller rolls back, and nothing has changed.
    """
    for table in ("boot", "message", "dead_message", "dropped"):
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in schema:
        connection.execute(statement)
    first_id = 1
    for boot_id, begun_at_ms, next_seq, readings in connection.execute(
        "SELECT boot_id, begun_at_ms, next_seq, readings FROM old_boot LEFT JOIN "
        "(SELECT boot_id, min(id) AS oldest FROM (SELECT boot_id, id FROM old_message UNION ALL "
        "SELECT boot_id, id FROM old_dead_message) GROUP BY boot_id) USING (boot_id) "
        "ORDER BY oldest NULLS FIRST, begun_at_ms"
    ).fetchall():
        connection.execute(
            "INSERT INTO boot VALUES (?, ?, ?, ?, ?)", (boot_id, begun_at_ms, first_id, next_seq, readings)
        )
        for first_seq in range(0, next_seq, GROUP_SPAN):
            if group := _taken(connection, boot_id, first_seq, first_id):
                insert_group(connection, group)
        first_id += next_seq
    connection.execute("INSERT INTO dropped SELECT id, from_ms, to_ms, messages, readings FROM old_dropped")
    for table in ("boot", "message", "dead_message", "dropped"):
        connection.execute(f"DROP TABLE old_{table}")


def _taken(
    connection: sqlite3.Connection, boot_id: str, first_seq: int, first_id: int
) -> list[StoredMessage]:
    """Take the messages of one group out of the old tables, with their new ids."""
    key = (boot_id, first_seq, first_seq + GROUP_SPAN - 1)
    states = {
        "old_message": "pubacks",
        "old_dead_message": f"CASE WHEN in_silence THEN {DEAD_IN_SILENCE} ELSE {DEAD} END",
    }
    rows: list[tuple[int, str, bytes, int, int, int]] = []
    for table, state in states.items():
        place = "WHERE boot_id = ? AND seq BETWEEN ? AND ?"
        rows += connection.execute(
            f"SELECT seq, topic, payload, readings, created_at_ms, {state} FROM {table} {place}", key
        ).fetchall()
        connection.execute(f"DELETE FROM {table} {place}", key)
    return [StoredMessage(first_id + seq, *rest) for seq, *rest in sorted(rows)]  # type: ignore[arg-type] # as typed above
