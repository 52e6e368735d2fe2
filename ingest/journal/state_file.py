"""`state.sqlite`: the state as of a checkpoint, and what does not follow from the messages.

Derived: head, seqs, counts of messages, early refusals, digests. Its own: the cursor, what the store refused or had already,
how far releases are, which days were removed, and counts of duplicates.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ingest.errors import JournalError
from ingest.journal.blocks import GENESIS, Head
from ingest.journal.connections import connect_readable, connect_writable, sync_folder
from ingest.journal.sources import Count, Source
from ingest.journal.state import QuarantineRow
from ingest.journal.unwritten import Unwritten
from ingest.sqlite_bulk import insert_rows

NAME = "state.sqlite"
LAYOUT = 1
COUNT_COLUMNS = tuple(count.name.lower() for count in Count)
_TABLES = (
    """CREATE TABLE IF NOT EXISTS mark (one INTEGER PRIMARY KEY CHECK (one = 1), head_id INTEGER NOT NULL,
        head_hash BLOB NOT NULL, cursor INTEGER NOT NULL, release INTEGER NOT NULL, days_differ INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS seq_range (gateway_id TEXT NOT NULL, boot_id TEXT NOT NULL, first INTEGER NOT NULL,
        last INTEGER NOT NULL, PRIMARY KEY (gateway_id, boot_id, first)) WITHOUT ROWID""",
    f"""CREATE TABLE IF NOT EXISTS tally (day INTEGER NOT NULL, gateway_id TEXT NOT NULL, boot_id TEXT NOT NULL,
        {", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in COUNT_COLUMNS)},
        PRIMARY KEY (day, gateway_id, boot_id)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS quarantine (message_id INTEGER NOT NULL, position INTEGER NOT NULL,
        late INTEGER NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, excerpt TEXT NOT NULL, gateway_id TEXT NOT NULL,
        topic TEXT NOT NULL, received_at_ms INTEGER NOT NULL, kind TEXT NOT NULL, items INTEGER NOT NULL,
        released INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (message_id, position)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS digest (digest BLOB PRIMARY KEY, message_id INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS status (gateway_id TEXT PRIMARY KEY, digest BLOB NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS removed (day INTEGER PRIMARY KEY, last_id INTEGER NOT NULL, hash BLOB NOT NULL)""",
)
#: Newest ranges of a source that are read at first.
NEWEST_RANGES = 64
#: Key, messages and readings.
_PLAIN_COLUMNS = 5
_ADD = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNT_COLUMNS)


def open_state_for_writing(path: Path, follows: Head) -> sqlite3.Connection:
    """State file for the writing process.

    If absent it is made for days that follow `follows`: aside, and moved here whole, so that no reader sees half of one.
    """
    if not path.exists():
        fresh = path.with_name(f"{path.name}.new")
        for name in (fresh.name, f"{fresh.name}-wal", f"{fresh.name}-shm"):
            fresh.with_name(name).unlink(missing_ok=True)
        connection = connect_writable(fresh, layout=LAYOUT, tables=_TABLES)
        try:
            begin_marks(connection, follows)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
        fresh.replace(path)
        sync_folder(path.parent)
    connection = connect_writable(path, layout=LAYOUT, tables=_TABLES)
    begin_marks(connection, follows)
    return connection


def open_state(path: Path) -> sqlite3.Connection:
    """State file for reading."""
    return connect_readable(path, layout=LAYOUT)


class SettledState:
    """The checkpoint, as `State` asks it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def source(self, gateway_id: str, boot_id: str) -> Source:
        """One (gateway, boot) as of the checkpoint."""

        def load(seq: int, below: int | None) -> list[tuple[int, int]]:
            return self._connection.execute(
                """SELECT first, last FROM seq_range WHERE gateway_id = ? AND boot_id = ? AND first < ? AND last >= ?
                ORDER BY first""",
                (gateway_id, boot_id, below, seq),
            ).fetchall()

        newest = self._connection.execute(
            """SELECT first, last FROM seq_range WHERE gateway_id = ? AND boot_id = ?
            ORDER BY first DESC LIMIT ?""",
            (gateway_id, boot_id, NEWEST_RANGES),
        ).fetchall()
        return Source(gateway_id, boot_id, newest[::-1], is_complete=len(newest) < NEWEST_RANGES, load=load)

    def has_digest(self, digest: bytes) -> bool:
        """Whether a message of that content has come."""
        found = self._connection.execute("SELECT 1 FROM digest WHERE digest = ?", (digest,)).fetchone()
        return found is not None

    def status_digest(self, gateway_id: str) -> bytes | None:
        """Content of a gateway's last status."""
        found = self._connection.execute(
            "SELECT digest FROM status WHERE gateway_id = ?", (gateway_id,)
        ).fetchone()
        return None if found is None else bytes(found[0])


class Marks(NamedTuple):
    """How far things are: the checkpoint, the store, the releases. `days_differ`: a message is in another day's file."""

    head: Head
    cursor: int
    release: int
    days_differ: bool


def read_marks(connection: sqlite3.Connection) -> Marks:
    """Marks of a state file.

    Raises
    ------
    JournalError
        If it has none yet.
    """
    found = connection.execute("SELECT head_id, head_hash, cursor, release, days_differ FROM mark").fetchone()
    if found is None:
        raise JournalError(f"the journal's {NAME} is about to be made: look again when ingest has begun")
    return Marks(Head(found[0], found[1]), found[2], found[3], bool(found[4]))


def read_removed(connection: sqlite3.Connection) -> Head:
    """End of the last day that retention removed."""
    found = connection.execute("SELECT last_id, hash FROM removed ORDER BY last_id DESC LIMIT 1").fetchone()
    return Head(0, GENESIS) if found is None else Head(*found)


def begin_marks(connection: sqlite3.Connection, head: Head) -> None:
    """Write the marks of a new state file: the store is taken to have nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO mark VALUES (1, ?, ?, ?, 0, 0)", (head.message_id, head.hash, head.message_id)
    )


def write_checkpoint(connection: sqlite3.Connection, unwritten: Unwritten) -> None:
    """Write a checkpoint that was collected, in the caller's transaction."""
    for row in unwritten.absorbed:
        connection.execute("DELETE FROM seq_range WHERE gateway_id = ? AND boot_id = ? AND first = ?", row)
    # Neighbours in the file one after the other.
    ranges = sorted(unwritten.ranges)
    insert_rows(
        connection, "INSERT INTO seq_range", ranges, after="ON CONFLICT DO UPDATE SET last = excluded.last"
    )
    add_tallies(connection, sorted(unwritten.tallies))
    insert_quarantine(connection, unwritten.quarantine)
    insert_rows(connection, "INSERT OR IGNORE INTO digest", list(unwritten.digests.items()))
    insert_rows(connection, "INSERT OR REPLACE INTO status", unwritten.statuses)
    connection.execute(
        "UPDATE mark SET head_id = ?, head_hash = ?, days_differ = MAX(days_differ, ?)",
        (*unwritten.head, int(unwritten.days_differ)),
    )


def add_tallies(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add to counts: rows of (day, gateway, boot, a number for each column)."""
    # Nearly all sources have good readings and nothing else: a quarter of the time for those.
    plain = [row[:_PLAIN_COLUMNS] for row in rows if not any(row[_PLAIN_COLUMNS:])]
    others = [row for row in rows if any(row[_PLAIN_COLUMNS:])]
    insert_rows(
        connection,
        "INSERT INTO tally (day, gateway_id, boot_id, messages, readings)",
        plain,
        after="ON CONFLICT DO UPDATE SET messages = messages + excluded.messages, readings = readings + excluded.readings",
    )
    insert_rows(connection, "INSERT INTO tally", others, after=f"ON CONFLICT DO UPDATE SET {_ADD}")


def insert_quarantine(connection: sqlite3.Connection, rows: Iterable[QuarantineRow]) -> None:
    """Put refusals into quarantine, each once, however often the store says so."""
    insert_rows(connection, "INSERT OR IGNORE INTO quarantine", [(*row, 0) for row in rows])
