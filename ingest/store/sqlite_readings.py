"""Writing readings into the SQLite store: new, repeated, duplicate or in conflict."""

import math
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ingest.store.ports import StoreRejectedError
from ingest.store.records import STATUS_CODES, STATUS_NAMES, ArrivalKind, ReadingRow, WriteOutcome
from ingest.store.sqlite_arrivals import add_arrivals
from ingest.store.sqlite_schema import BUCKET_MS, HOUR_MS
from ingest.store.sqlite_session import Names

_INSERT = "INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_IF_NEW = "INSERT OR IGNORE INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_STANDING = """SELECT value, status, received_at_ms, gateway, boot, seq, position, "by", method FROM reading
    WHERE bucket = ? AND pool = ? AND sensor = ? AND quantity = ? AND measured_at_ms = ?"""
_REPLACE = """UPDATE reading SET value = ?, status = ?, received_at_ms = ?, stored_at_ms = ?,
    gateway = ?, boot = ?, seq = ?, position = ?, "by" = ?, method = ?
    WHERE bucket = ? AND pool = ? AND sensor = ? AND quantity = ? AND measured_at_ms = ?"""
_TAKE_OVER = """UPDATE reading SET received_at_ms = ?,
    gateway = ?, boot = ?, seq = ?, position = ?, "by" = ?, method = ?
    WHERE bucket = ? AND pool = ? AND sensor = ? AND quantity = ? AND measured_at_ms = ?"""
_DISPLACE = "INSERT INTO displaced VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DISPLACED = """SELECT value, status, received_at_ms, gateway, boot, seq, position, "by", method
    FROM displaced WHERE pool = ? AND sensor = ? AND quantity = ? AND measured_at_ms = ?
    AND by_gateway = ? AND by_boot = ? AND by_seq = ? AND by_position = ?"""
_EXTEND = """INSERT INTO latest VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    first_ms = min(first_ms, excluded.first_ms), latest_ms = max(latest_ms, excluded.latest_ms)"""
_COUNT = """INSERT INTO tally (gateway, readings) VALUES (?, ?)
    ON CONFLICT DO UPDATE SET readings = readings + excluded.readings"""


@dataclass(slots=True)
class _Change:
    """What a batch changed so far: new readings by pool and hour, and the hours in which one was replaced."""

    duplicates: int = 0
    conflicts: list[ReadingRow] = field(default_factory=list)
    by_hour: Counter[tuple[str, int]] = field(default_factory=Counter)
    replaced: set[tuple[str, int]] = field(default_factory=set)
    by_gateway: Counter[int] = field(default_factory=Counter)


class _NumberedRow(NamedTuple):
    """A reading beside its columns in the table, names as numbers."""

    row: ReadingRow
    columns: tuple[Any, ...]


def write_readings(
    connection: sqlite3.Connection, names: Names, rows: Sequence[ReadingRow], *, stored_at_ms: int
) -> WriteOutcome:
    """Store readings with series, tallies and arrivals, within the caller's transaction."""
    if not rows:
        return WriteOutcome(stored=0, duplicates=0, conflicts=())
    numbered = _number_all(connection, names, rows, stored_at_ms)
    change = _Change()
    before = connection.total_changes
    connection.execute("SAVEPOINT all_new")
    connection.executemany(_INSERT_IF_NEW, [entry.columns for entry in numbered])
    if connection.total_changes - before == len(numbered):
        connection.execute("RELEASE all_new")
        for entry in numbered:
            _count_new(change, entry)
    else:
        # Some key was there already: look at each reading by itself.
        connection.execute("ROLLBACK TO all_new")
        connection.execute("RELEASE all_new")
        for entry in numbered:
            _write_one(connection, names, entry, change)
    _extend_series(connection, numbered)
    connection.executemany(_COUNT, [item for item in change.by_gateway.items() if item[1]])
    add_arrivals(connection, ArrivalKind.READINGS, change.by_hour, stored_at_ms=stored_at_ms)
    # An arrival of no row: something of that hour is another now.
    add_arrivals(
        connection, ArrivalKind.READINGS, dict.fromkeys(change.replaced, 0), stored_at_ms=stored_at_ms
    )
    return WriteOutcome(
        stored=sum(change.by_hour.values()), duplicates=change.duplicates, conflicts=tuple(change.conflicts)
    )


def _number_all(
    connection: sqlite3.Connection, names: Names, rows: Sequence[ReadingRow], stored_at_ms: int
) -> list[_NumberedRow]:
    # Few series and boots, many readings: the five numbers of a row are looked up together.
    known: dict[tuple[str, ...], tuple[int, ...]] = {}
    numbered = []
    for row in rows:
        status = STATUS_CODES.get(row.status)
        if status is None or (row.value is not None and not math.isfinite(row.value)):
            raise StoreRejectedError(
                f"reading of {row.pool_id}/{row.sensor_id} has value {row.value} and status {row.status!r}; "
                "give a number or null, and a reading's status"
            )
        texts = (row.pool_id, row.sensor_id, row.quantity, row.gateway_id, row.boot_id)
        numbers = known.get(texts)
        if numbers is None:
            numbers = known[texts] = tuple(names.number(connection, text) for text in texts)
        pool, sensor, quantity, gateway, boot = numbers
        at_ms = row.measured_at_ms
        place = (at_ms // BUCKET_MS, pool, sensor, quantity, at_ms)
        fact = (row.value, status, row.received_at_ms, stored_at_ms)
        origin = (gateway, boot, row.seq, row.position, row.by, row.method)
        numbered.append(_NumberedRow(row, place + fact + origin))
    return numbered


def _count_new(change: _Change, entry: _NumberedRow) -> None:
    row = entry.row
    change.by_hour[row.pool_id, row.measured_at_ms - row.measured_at_ms % HOUR_MS] += 1
    change.by_gateway[entry.columns[9]] += 1


def _write_one(connection: sqlite3.Connection, names: Names, entry: _NumberedRow, change: _Change) -> None:
    """Store one reading by the rule for two values of one (pool, sensor, quantity, measured_at).

    The smallest (received_at, gateway, boot, seq) stands, whatever the order of arrival. An equal value with
    a smaller one hands its origin over, so that a third value meets the same opponent in any order.
    """
    new, columns = entry.row, entry.columns
    key = columns[:5]
    standing = connection.execute(_STANDING, key).fetchone()
    if standing is None:
        connection.execute(_INSERT, columns)
        _count_new(change, entry)
        return
    old = _as_row(connection, names, new, standing)
    same_value = (old.value, old.status) == (new.value, new.status)
    if same_value and _message(old) == _message(new):
        repeated_by = (*columns[1:5], *columns[9:13])
        change.conflicts.extend(
            _as_row(connection, names, new, loser)
            for loser in connection.execute(_DISPLACED, repeated_by).fetchall()
        )
        return
    if same_value:
        change.duplicates += 1
    if _precedence(new) >= _precedence(old):
        if not same_value:
            change.conflicts.append(new)
        return
    change.by_gateway[standing[3]] -= 1
    change.by_gateway[columns[9]] += 1
    if same_value:
        connection.execute(_TAKE_OVER, (columns[7], *columns[9:], *key))
        return
    connection.execute(_DISPLACE, (*columns[1:5], *columns[9:13], *standing))
    connection.execute(_REPLACE, (*columns[5:], *key))
    change.conflicts.append(old)
    change.replaced.add((new.pool_id, new.measured_at_ms - new.measured_at_ms % HOUR_MS))


def _as_row(
    connection: sqlite3.Connection, names: Names, same_key: ReadingRow, stored: tuple[Any, ...]
) -> ReadingRow:
    value, status, received_at_ms, gateway, boot, seq, position, by, method = stored
    return same_key._replace(
        value=value,
        status=STATUS_NAMES[status],
        received_at_ms=received_at_ms,
        gateway_id=names.text(connection, gateway),
        boot_id=names.text(connection, boot),
        seq=seq,
        position=position,
        by=by,
        method=method,
    )


def _message(row: ReadingRow) -> tuple[str, str, int, int]:
    return row.gateway_id, row.boot_id, row.seq, row.position


def _precedence(row: ReadingRow) -> tuple[int, str, str, int, int]:
    return row.received_at_ms, *_message(row)


def _extend_series(connection: sqlite3.Connection, numbered: Sequence[_NumberedRow]) -> None:
    extents: dict[tuple[Any, ...], tuple[int, int]] = {}
    for entry in numbered:
        series, instant_ms = entry.columns[1:4], entry.row.measured_at_ms
        first_ms, latest_ms = extents.get(series, (instant_ms, instant_ms))
        extents[series] = (min(first_ms, instant_ms), max(latest_ms, instant_ms))
    connection.executemany(_EXTEND, [(*series, *extent) for series, extent in extents.items()])
