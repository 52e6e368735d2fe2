"""The outbox's file: its tables, opening it, the lock that keeps a second process out, and its account.

Newer messages are rows of `message`; older ones are packed into `packed_group`, whose bodies never change, while
`packed_left` says what became of each member. A message's id is the `first_id` of its boot plus its seq, so neither is
kept beside it. `state` is explained in `outbox_packing`.
"""

import fcntl
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

from gateway.errors import OutboxError, OutboxHeldError
from gateway.outbox_format1 import account_of_format_1, migrate_format_1
from gateway.outbox_packing import MOST_PUBACKS
from gateway.outbox_records import OutboxAccount

#: Written into the file; a file of a later format is refused, not guessed at.
_FORMAT = 2
#: A file of which this share is unused, and this much, is made smaller when it is opened. [byte]
_UNUSED_SHARE, _UNUSED_BYTES = 0.75, 4 * 1024 * 1024
#: Pages of a new file: a commit writes two, so small ones spare an SD card half of what 4,096 would write. [byte]
_PAGE_BYTES = 1024
_SCHEMA = (
    """CREATE TABLE boot (
  boot_id TEXT PRIMARY KEY, begun_at_ms INTEGER NOT NULL, first_id INTEGER NOT NULL,
  next_seq INTEGER NOT NULL DEFAULT 0, readings INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    """CREATE TABLE message (
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, readings INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE packed_group (
  first_id INTEGER PRIMARY KEY, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, topics TEXT NOT NULL,
  plain_bytes INTEGER NOT NULL, body BLOB NOT NULL)""",
    """CREATE TABLE packed_left (
  first_id INTEGER PRIMARY KEY, pending INTEGER NOT NULL, readings_pending INTEGER NOT NULL, dead INTEGER NOT NULL,
  readings_dead INTEGER NOT NULL, silent INTEGER NOT NULL, states BLOB NOT NULL, readings BLOB NOT NULL)""",
    """CREATE TABLE dropped (
  id INTEGER PRIMARY KEY, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, messages INTEGER NOT NULL,
  readings INTEGER NOT NULL)""",
)


def open_outbox_file(path: Path) -> tuple[sqlite3.Connection, IO[str]]:
    """Connection and lock of an outbox; its folder and tables are made if they are not there.

    A file of the earlier format is brought to this one, with all that it holds, in one commit.

    Raises
    ------
    OutboxHeldError
        If another process has it open.
    OutboxError
        If the file is no outbox, or its folder cannot be written.
    """
    lock = _take_lock(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")  # of a new file
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _bring_to_format(connection, path)
        _shrink(connection)
    except sqlite3.Error as error:
        _give_back(connection, lock)
        raise OutboxError(
            f"{path} cannot be used as an outbox: {error}. Move it away to begin an empty one, and keep it: "
            "it may hold readings"
        ) from error
    except BaseException:
        _give_back(connection, lock)
        raise
    return connection, lock


def _bring_to_format(connection: sqlite3.Connection, path: Path) -> None:
    made_by = _format_of(connection)
    if made_by > _FORMAT:
        raise OutboxError(
            f"{path} was written by a later version (format {made_by}, known is {_FORMAT}): update poolwatch"
        )
    if made_by == _FORMAT:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if made_by == 1:
            migrate_format_1(connection, _SCHEMA)
        else:
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={_FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _format_of(connection: sqlite3.Connection) -> int:
    (made_by,) = connection.execute("PRAGMA user_version").fetchone()
    return int(made_by)


def _shrink(connection: sqlite3.Connection) -> None:
    """Give the disk back what a long backlog took; without room for that it stays, and is used again."""
    page_bytes, pages, unused = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    if unused > _UNUSED_SHARE * pages and unused * page_bytes > _UNUSED_BYTES:
        with suppress(sqlite3.OperationalError):
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _give_back(connection: sqlite3.Connection | None, lock: IO[str]) -> None:
    if connection is not None:
        connection.close()
    lock.close()


def _take_lock(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w", encoding="utf-8")
    except OSError as error:
        raise OutboxError(
            f"{path.parent} cannot hold an outbox: {error.strerror}. Make it writable"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise OutboxHeldError(
            f"{path} is in use by another process of this gateway: end that one, or wait"
        ) from error
    return lock


def read_account(path: Path) -> OutboxAccount:
    """Account of an outbox that another process may have open; OutboxError if there is none."""
    if not path.exists():
        raise OutboxError(f"no outbox at {path}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return account_of(connection)
    except sqlite3.Error as error:
        raise OutboxError(f"{path} cannot be read: {error}") from error


def account_of(connection: sqlite3.Connection) -> OutboxAccount:
    """Totals of one instant, whatever its owner writes meanwhile."""

    def totals(query: str) -> tuple[int, ...]:
        return tuple(connection.execute(query).fetchone())

    connection.execute("BEGIN")
    try:
        if _format_of(connection) == 1:
            return account_of_format_1(connection)
        sent = totals("SELECT coalesce(sum(next_seq), 0), coalesce(sum(readings), 0) FROM boot")
        pending, readings_pending, dead, readings_dead = totals(
            "SELECT coalesce(sum(pending), 0), coalesce(sum(readings_pending), 0), coalesce(sum(dead), 0), "
            f"coalesce(sum(readings_dead), 0) FROM (SELECT pending, readings_pending, dead, readings_dead "
            f"FROM packed_left UNION ALL SELECT state < {MOST_PUBACKS}, (state < {MOST_PUBACKS}) * readings, "
            f"state >= {MOST_PUBACKS}, (state >= {MOST_PUBACKS}) * readings FROM message)"
        )
        dropped = totals("SELECT coalesce(sum(messages), 0), coalesce(sum(readings), 0) FROM dropped")
        boots = dict(connection.execute("SELECT boot_id, next_seq FROM boot").fetchall())
    finally:
        connection.execute("ROLLBACK")
    return OutboxAccount(
        messages_sent=sent[0],
        readings_sent=sent[1],
        messages_pending=pending,
        readings_pending=readings_pending,
        messages_dead=dead,
        readings_dead=readings_dead,
        messages_dropped=dropped[0],
        readings_dropped=dropped[1],
        boots=boots,
    )


def oldest_kept_ms(connection: sqlite3.Connection) -> int | None:
    """When the oldest message that is still to be sent was appended, or the first of its group; None: there is none."""
    (oldest_ms,) = connection.execute(
        "SELECT min(at_ms) FROM (SELECT min(from_ms) AS at_ms FROM packed_group JOIN packed_left USING (first_id) "
        "WHERE pending > 0 "
        f"UNION ALL SELECT min(created_at_ms) FROM message WHERE state < {MOST_PUBACKS})"
    ).fetchone()
    return None if oldest_ms is None else int(oldest_ms)
