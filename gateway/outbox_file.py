"""The outbox's file: its tables, opening it, the lock that keeps a second process out, and its account."""

import fcntl
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gateway.errors import OutboxError, OutboxHeldError

#: Written into the file; a file of a later format is refused, not guessed at.
_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS boot (
  boot_id TEXT PRIMARY KEY, begun_at_ms INTEGER NOT NULL, next_seq INTEGER NOT NULL DEFAULT 0,
  readings INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
  id INTEGER PRIMARY KEY AUTOINCREMENT, boot_id TEXT NOT NULL, seq INTEGER NOT NULL, topic TEXT NOT NULL,
  payload BLOB NOT NULL, readings INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, pubacks INTEGER NOT NULL DEFAULT 0,
  UNIQUE (boot_id, seq));
CREATE TABLE IF NOT EXISTS dead_message (
  id INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, seq INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
  readings INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, in_silence INTEGER NOT NULL, UNIQUE (boot_id, seq));
CREATE TABLE IF NOT EXISTS dropped (
  id INTEGER PRIMARY KEY, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, messages INTEGER NOT NULL,
  readings INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class OutboxAccount:
    """What this gateway ever appended, and where it is. `boots`: next seq of each boot.

    sent = confirmed by a receipt + pending + dead + dropped. Readings that could not even be kept, because the disk was
    full, count as sent and dropped, in no message.
    """

    messages_sent: int
    readings_sent: int
    messages_pending: int
    readings_pending: int
    messages_dead: int
    readings_dead: int
    messages_dropped: int
    readings_dropped: int
    boots: dict[str, int] = field(default_factory=dict)


def open_outbox_file(path: Path) -> tuple[sqlite3.Connection, IO[str]]:
    """Connection and lock of an outbox; its folder and tables are made if they are not there.

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
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        (made_by,) = connection.execute("PRAGMA user_version").fetchone()
        _check_format(path, made_by)
        connection.executescript(_SCHEMA)
        if made_by < _FORMAT:
            connection.execute(f"PRAGMA user_version={_FORMAT}")
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


def _check_format(path: Path, made_by: int) -> None:
    if made_by > _FORMAT:
        raise OutboxError(
            f"{path} was written by a later version (format {made_by}, known is {_FORMAT}): update poolwatch"
        )


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

    def totals(query: str) -> tuple[int, int]:
        messages, readings = connection.execute(query).fetchone()
        return messages, readings

    connection.execute("BEGIN")
    try:
        sent = totals("SELECT coalesce(sum(next_seq), 0), coalesce(sum(readings), 0) FROM boot")
        pending = totals("SELECT count(*), coalesce(sum(readings), 0) FROM message")
        dead = totals("SELECT count(*), coalesce(sum(readings), 0) FROM dead_message")
        dropped = totals("SELECT coalesce(sum(messages), 0), coalesce(sum(readings), 0) FROM dropped")
        boots = dict(connection.execute("SELECT boot_id, next_seq FROM boot").fetchall())
    finally:
        connection.execute("ROLLBACK")
    return OutboxAccount(*sent, *pending, *dead, *dropped, boots=boots)
