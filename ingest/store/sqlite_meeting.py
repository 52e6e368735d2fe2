"""A reading that may meet a stored one of the same series and instant in the SQLite store: which of the two stands."""

import sqlite3
from typing import Any

from ingest.store.records import STATUS_CODES, STATUS_NAMES, ReadingRow
from ingest.store.sqlite_schema import HOUR_MS
from ingest.store.sqlite_session import Names

_KEY = "bucket = ? AND series = ? AND measured_at_ms = ?"
_INSERT = "INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_STANDING = f"""SELECT value, status, received_at_ms, gateway, boot, seq, position, "by", method FROM reading
    JOIN message ON message.id = message WHERE {_KEY}"""
_REPLACE = f"""UPDATE reading SET value = ?, status = ?, received_at_ms = ?, stored_at_ms = ?,
    message = ?, position = ?, "by" = ?, method = ? WHERE {_KEY}"""
_TAKE_OVER = (
    f"""UPDATE reading SET received_at_ms = ?, message = ?, position = ?, "by" = ?, method = ? WHERE {_KEY}"""
)
_DISPLACE = "INSERT INTO displaced VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DISPLACED = """SELECT value, status, received_at_ms, gateway, boot, seq, position, "by", method
    FROM displaced WHERE series = ? AND measured_at_ms = ?
    AND by_gateway = ? AND by_boot = ? AND by_seq = ? AND by_position = ?"""

_Numbers = tuple[int, int, int]


class Meetings:
    """Readings of one write that are looked at one by one, within the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, names: Names, stored_at_ms: int) -> None:
        self._connection = connection
        self._names = names
        self._stored_at_ms = stored_at_ms
        self._messages: dict[_Numbers, int] = {}
        self._replaced: set[tuple[str, int]] = set()
        self.duplicates: list[ReadingRow] = []
        self.conflicts: list[ReadingRow] = []

    @property
    def replaced(self) -> frozenset[tuple[str, int]]:
        """Pools and hours in which a stored reading was replaced."""
        return frozenset(self._replaced)

    def meet(self, new: ReadingRow, key: _Numbers, origin: _Numbers) -> bool:
        """Store a reading by the rule for two values of one key; whether it is new.

        The smallest (received_at, gateway, boot, seq) stands, whatever the order of arrival. An equal value with
        a smaller one hands its origin over, so that a third value meets the same opponent in any order.

        Parameters
        ----------
        new : ReadingRow
            The reading.
        key, origin : tuples of int
            (bucket, series, measured_at_ms) and (gateway, boot, seq), names as the file's numbers.
        """
        standing = self._connection.execute(_STANDING, key).fetchone()
        status = STATUS_CODES[new.status]
        if standing is None:
            fact = (new.value, status, new.received_at_ms, self._stored_at_ms)
            self._connection.execute(
                _INSERT, (*key, *fact, self._message(origin), new.position, new.by, new.method)
            )
            return True
        old = self._as_row(new, standing)
        same_value = (old.value, old.status) == (new.value, new.status)
        if same_value and _place(old) == _place(new):
            repeated_by = (*key[1:], *origin, new.position)
            self.conflicts.extend(
                self._as_row(new, loser)
                for loser in self._connection.execute(_DISPLACED, repeated_by).fetchall()
            )
            return False
        if same_value:
            self.duplicates.append(new)
        if _precedence(new) >= _precedence(old):
            if not same_value:
                self.conflicts.append(new)
            return False
        taken = (self._message(origin), new.position, new.by, new.method)
        if same_value:
            self._connection.execute(_TAKE_OVER, (new.received_at_ms, *taken, *key))
            return False
        self._connection.execute(_DISPLACE, (*key[1:], *origin, new.position, *standing))
        fact = (new.value, status, new.received_at_ms, self._stored_at_ms)
        self._connection.execute(_REPLACE, (*fact, *taken, *key))
        self.conflicts.append(old)
        self._replaced.add((new.pool_id, new.measured_at_ms - new.measured_at_ms % HOUR_MS))
        return False

    def _message(self, origin: _Numbers) -> int:
        """Return the number of a message in the file, given to it now if this write has not yet."""
        known = self._messages.get(origin)
        if known is None:
            known = self._connection.execute(
                "INSERT INTO message (gateway, boot, seq) VALUES (?, ?, ?)", origin
            ).lastrowid
            assert known is not None  # noqa: S101 - an insert has a row number
            self._messages[origin] = known
        return known

    def _as_row(self, same_key: ReadingRow, stored: tuple[Any, ...]) -> ReadingRow:
        value, status, received_at_ms, gateway, boot, seq, position, by, method = stored
        return same_key._replace(
            value=value,
            status=STATUS_NAMES[status],
            received_at_ms=received_at_ms,
            gateway_id=self._names.text(self._connection, gateway),
            boot_id=self._names.text(self._connection, boot),
            seq=seq,
            position=position,
            by=by,
            method=method,
        )


def _place(row: ReadingRow) -> tuple[str, str, int, int]:
    return row.gateway_id, row.boot_id, row.seq, row.position


def _precedence(row: ReadingRow) -> tuple[int, str, str, int, int]:
    return row.received_at_ms, *_place(row)
