"""What this replica served, and since when: on local disk first, then served, then stored.

A publication that cannot be proved is none, so a row is committed here before anybody can see what it says.
"""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ingest.store.records import PublicationRow, PublishedValue

_SCHEMA = """
CREATE TABLE IF NOT EXISTS publication (
  id INTEGER PRIMARY KEY, pool_id TEXT NOT NULL, published_at_ms INTEGER NOT NULL, content_hash TEXT NOT NULL,
  replica TEXT NOT NULL, state TEXT NOT NULL, published_values BLOB NOT NULL, stored INTEGER NOT NULL DEFAULT 0,
  UNIQUE (pool_id, content_hash, replica, published_at_ms));
CREATE INDEX IF NOT EXISTS publication_unstored ON publication (id) WHERE stored = 0;
"""
_VALUES = msgspec.json.Decoder(tuple[PublishedValue, ...])
#: Rows that the store has are kept here this long, for a look at what this replica did. [ms]
_KEEP_MS = 40 * 86_400_000


class PublicationLogError(Exception):
    """The log cannot be used: nothing new may be published until it can."""


class PublicationLog:
    """The log of one replica. Its methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise PublicationLogError(f"{path} cannot be used as a publication log: {error}") from error

    def append(self, rows: Sequence[PublicationRow]) -> None:
        """Commit rows, all in one; they are on disk when this returns. PublicationLogError if they are not."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(
                    "INSERT OR IGNORE INTO publication "
                    "(pool_id, published_at_ms, content_hash, replica, state, published_values) VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (
                            row.pool_id,
                            row.published_at_ms,
                            row.content_hash,
                            row.replica,
                            row.state,
                            msgspec.json.encode(row.values),
                        )
                        for row in rows
                    ],
                )
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise PublicationLogError(f"{self._path}: {error}. Is the disk full?") from error

    def unstored(self, *, limit: int = 1000) -> list[tuple[int, PublicationRow]]:
        """Rows that the store does not have yet, oldest first, with their number."""
        with self._lock:
            found = self._connection.execute(
                "SELECT id, pool_id, published_at_ms, content_hash, replica, state, published_values FROM publication "
                "WHERE stored = 0 ORDER BY id LIMIT ?",
                (limit,),
            ).fetchall()
        return [
            (row[0], PublicationRow(row[1], row[2], row[3], row[4], row[5], _VALUES.decode(row[6])))
            for row in found
        ]

    def count_unstored(self) -> int:
        """How many rows the store does not have yet."""
        with self._lock:
            (count,) = self._connection.execute(
                "SELECT count(*) FROM publication WHERE stored = 0"
            ).fetchone()
        return int(count)

    def mark_stored(self, up_to: int, *, now_ms: int) -> None:
        """Note that the store has every row up to a number, and forget what is long there."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "UPDATE publication SET stored = 1 WHERE stored = 0 AND id <= ?", (up_to,)
            )
            self._connection.execute(
                "DELETE FROM publication WHERE stored = 1 AND id < ? - 1000 AND published_at_ms < ?",
                (up_to, now_ms - _KEEP_MS),
            )
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()
