"""Connections, locks and transactions of the SQLite store, and its errors in the port's words."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.sqlite_errors import can_mend
from ingest.store.batches import Series
from ingest.store.ports import StoreError, StoreRejectedError, StoreUnavailableError
from ingest.store.sqlite_schema import connect, create_tables


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as the port's: StoreUnavailableError for what can mend, else StoreRejectedError."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        if can_mend(error):
            raise StoreUnavailableError(
                f"store {path}: {error}; see that its folder exists, is writable and has room, then try again"
            ) from error
        raise StoreRejectedError(f"store {path}: {error}") from error


class Names:
    """Small numbers for pool, sensor, quantity, gateway and boot names, and for series, as the writer knows them."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._series: dict[Series, int] = {}

    def number(self, connection: sqlite3.Connection, text: str) -> int:
        """Return the number of a name, given to it now if it has none; within a writing transaction."""
        known = self._ids.get(text)
        if known is None:
            connection.execute("INSERT OR IGNORE INTO name (text) VALUES (?)", (text,))
            (known,) = connection.execute("SELECT id FROM name WHERE text = ?", (text,)).fetchone()
            self._ids[text] = known
        return known

    def series_number(self, connection: sqlite3.Connection, series: Series) -> int:
        """Return the number of a series, given to it now if it has none; within a writing transaction."""
        known = self._series.get(series)
        if known is None:
            numbers = tuple(self.number(connection, text) for text in series)
            connection.execute(
                "INSERT OR IGNORE INTO series (pool, sensor, quantity) VALUES (?, ?, ?)", numbers
            )
            (known,) = connection.execute(
                "SELECT id FROM series WHERE pool = ? AND sensor = ? AND quantity = ?", numbers
            ).fetchone()
            self._series[series] = known
        return known

    def text(self, connection: sqlite3.Connection, number: int) -> str:
        """Return the name that a number stands for."""
        (text,) = connection.execute("SELECT text FROM name WHERE id = ?", (number,)).fetchone()
        return str(text)

    def forget(self) -> None:
        """Drop what is remembered: a transaction was rolled back, and the numbers with it."""
        self._ids.clear()
        self._series.clear()


class Session:
    """One writing and one reading connection to a file; each is used by one thread at a time.

    With two, a read never waits for a write of the same process that itself waits for another process.
    """

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise StoreUnavailableError(
                f"store {path}: its folder does not exist; make it, or name another file"
            )
        self._path = path
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self.names = Names()
        with translated_errors(path):
            self._writer = connect(path)
            try:
                create_tables(self._writer)
                self._reader = connect(path)
                self._reader.execute("PRAGMA query_only = ON")
            except ValueError as error:
                self._writer.close()
                raise StoreError(f"store {path}: {error}") from error
            except BaseException:
                self._writer.close()
                raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a transaction: committed and synced to the disk at its end, or nothing of it stays."""
        with self._write_lock, translated_errors(self._path):
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self.names.forget()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a view of one instant, whatever is written meanwhile."""
        with self._read_lock, translated_errors(self._path):
            connection = self._reader
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close both connections, after a transaction under way has ended."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()


def position_of(cursor: str | None) -> int:
    """Row number that a cursor stands for; StoreRejectedError if it is none of this store's."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit()):
        raise StoreRejectedError(
            f"{cursor!r} is no cursor of this store: give back one that it returned, or None"
        )
    return int(cursor)
