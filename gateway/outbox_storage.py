"""The connection to an outbox's file: queries, transactions with and without an fsync, errors in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.errors import OutboxError
from gateway.outbox_disk import Disk
from gateway.outbox_file import open_outbox_file
from gateway.outbox_groups import PackedGroups


class OutboxStorage:
    """File, lock and disk of an outbox. One thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection, self._lock = open_outbox_file(path)
        self._fsync = True
        self._groups = PackedGroups(self._connection)
        self._disk = Disk(path, self._connection)

    def close(self) -> None:
        """Give back file and lock; what is kept stays."""
        self._connection.close()
        self._lock.close()

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        with self._translated():
            return self._connection.execute(query, parameters).fetchall()

    def _number(self, query: str, parameters: tuple[Any, ...] = ()) -> int:
        return int(self._rows(query, parameters)[0][0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutboxError(
                f"{self.path}: {error}. Is the disk full? What was kept before is safe"
            ) from error

    @contextmanager
    def _transaction(self, *, fsync: bool = True) -> Iterator[None]:
        with self._translated():
            if fsync != self._fsync:
                self._connection.execute(f"PRAGMA synchronous={'FULL' if fsync else 'NORMAL'}")
                self._fsync = fsync
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite ends it by itself when the disk is full
                    self._connection.execute("ROLLBACK")
                self._groups.forget()
                self._disk.shorten_log()
                raise
