"""Connections to the journal's SQLite files, SQLite's errors in ingest's words, and what makes a rename durable."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ingest.errors import JournalError, JournalUnavailableError
from ingest.sqlite_errors import can_mend

#: How long a connection waits for another one's transaction. [s]
_BUSY_TIMEOUT_S = 5.0
#: Blobs of some hundred kilobytes are common and single messages too; measured best of 4, 8, 16 and 32 KiB for both.
_PAGE_BYTES = 8192
#: Of the write-ahead log, before its pages go into the file. [pages]
_WAL_PAGES = 2000


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's and the file system's errors as ingest's: JournalUnavailableError for what can mend."""
    try:
        yield
    except sqlite3.Error as error:
        if can_mend(error):
            raise JournalUnavailableError(
                f"journal {path}: {error}; see that the disk has room and the file is writable"
            ) from error
        raise JournalError(
            f"journal {path}: {error}; keep the file, and put back a copy of it that is whole"
        ) from error
    except OSError as error:
        raise JournalUnavailableError(
            f"journal {path}: {error.strerror or error}; see that the disk has room and the folder is writable"
        ) from error


def connect_writable(path: Path, *, layout: int, tables: tuple[str, ...] = ()) -> sqlite3.Connection:
    """Connection that writes; each commit is on the disk when it returns. Absent tables are made.

    Raises
    ------
    JournalError
        If the file was written by a newer version.
    sqlite3.Error
        If it cannot be opened or is none of SQLite's.
    """
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        check_layout(connection, path, layout)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        if tables:
            with transaction(connection):
                for statement in tables:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {layout}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_readable(path: Path, *, layout: int) -> sqlite3.Connection:
    """Connection that only reads, while another process may be writing.

    Raises
    ------
    JournalError
        If the file was written by a newer version.
    sqlite3.Error
        If it is absent or none of SQLite's.
    """
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        check_layout(connection, path, layout)
    except BaseException:
        connection.close()
        raise
    return connection


def check_layout(connection: sqlite3.Connection, path: Path, layout: int) -> None:
    """Refuse a file of a newer layout, rather than misread it."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > layout:
        raise JournalError(
            f"journal {path} was written by a newer poolwatch (layout {found}, known is {layout}): use that one"
        )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that writes: committed at the end, rolled back on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, after files were made, renamed or removed."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def take_lock(folder: Path) -> IO[str]:
    """Lock of the one process that writes a journal; closing it gives it back, and so does the process's end.

    Raises
    ------
    JournalError
        If another process has it; names it.
    """
    lock = (folder / "lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read(200).strip() or "another process"
        lock.close()
        raise JournalError(
            f"journal {folder} is in use by {holder}: end that one, or name another data folder"
        ) from error
    lock.seek(0)
    lock.truncate()
    lock.write(f"process {os.getpid()} ({' '.join(_command())})")
    lock.flush()
    return lock


def _command() -> list[str]:
    try:
        shown = Path("/proc/self/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ["poolwatch"]
    return [Path(shown[0]).name, *shown[1:4]]
