"""Releases from quarantine: asked for by any process in `releases.sqlite`, carried out by ingest, in their order."""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from ingest.journal.blocks import day_of
from ingest.journal.connections import connect_readable, connect_writable, transaction
from ingest.journal.days import Days
from ingest.journal.excerpts import WHOLE
from ingest.journal.late import LateRow, Tallies
from ingest.journal.records import JournalMessage, Outcome
from ingest.journal.sources import Count
from ingest.journal.state import LOGBOOK, READINGS, STATUS, late_row
from ingest.journal.state_file import insert_quarantine, read_marks
from ingest.store.records import ReadingRow
from ingest.validation import Refusal

NAME = "releases.sqlite"
_LAYOUT = 1
_TABLES = (
    """CREATE TABLE IF NOT EXISTS request (id INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER NOT NULL,
        positions BLOB NOT NULL, items INTEGER NOT NULL, remaining BLOB NOT NULL, who TEXT NOT NULL,
        at_ms INTEGER NOT NULL, registry_sha256 TEXT NOT NULL, reason TEXT NOT NULL, forced INTEGER NOT NULL)""",
)
_COLUMNS = "id, message_id, positions, items, remaining, who, at_ms, registry_sha256, reason, forced"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked to release of one message: item positions (none of a status), and what stays refused."""

    message_id: int
    positions: tuple[int, ...]
    items: int
    remaining: tuple[Refusal, ...]
    who: str
    at_ms: int
    registry_sha256: str
    reason: str
    forced: bool
    request_id: int = 0


@dataclass(frozen=True, slots=True)
class Release:
    """A release for the store writer: build the message's rows without those at `refused`, write them, say `released`."""

    request_id: int
    message: JournalMessage
    positions: tuple[int, ...]
    items: int
    remaining: tuple[Refusal, ...] = field(default=())
    day: int = 0

    @property
    def refused(self) -> frozenset[int]:
        """Positions that are not to be written."""
        return frozenset(range(self.items)).difference(self.positions)


class _Row(NamedTuple):
    position: int
    late: int
    released: int


def append_requests(folder: Path, requests: Sequence[Request]) -> None:
    """Ask for releases; ingest carries them out while it runs, or when it starts.

    Raises
    ------
    sqlite3.Error
        If the file cannot be written.
    """
    connection = connect_writable(folder / NAME, layout=_LAYOUT, tables=_TABLES)
    try:
        with transaction(connection):
            for one in requests:
                connection.execute(
                    "INSERT INTO request VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        one.message_id,
                        msgspec.msgpack.encode(one.positions),
                        one.items,
                        msgspec.msgpack.encode(one.remaining),
                        one.who,
                        one.at_ms,
                        one.registry_sha256,
                        one.reason,
                        int(one.forced),
                    ),
                )
    finally:
        connection.close()


def read_requests(folder: Path, *, after: int = 0, limit: int = -1) -> list[Request]:
    """Requests with an id above `after`, oldest first; none where nobody ever asked."""
    path = folder / NAME
    if not path.exists():
        return []
    connection = connect_readable(path, layout=_LAYOUT)
    try:
        found = connection.execute(
            f"SELECT {_COLUMNS} FROM request WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        ).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []  # another process is about to make it
        raise
    finally:
        connection.close()
    return [
        Request(
            message_id,
            msgspec.msgpack.decode(positions, type=tuple[int, ...]),
            items,
            msgspec.msgpack.decode(remaining, type=tuple[Refusal, ...]),
            who,
            at_ms,
            registry_sha256,
            reason,
            bool(forced),
            request_id,
        )
        for request_id, message_id, positions, items, remaining, who, at_ms, registry_sha256, reason, forced in found
    ]


def count_requests(folder: Path, *, after: int) -> int:
    """How many requests have an id above `after`; 0 where nobody ever asked."""
    path = folder / NAME
    if not path.exists():
        return 0
    connection = connect_readable(path, layout=_LAYOUT)
    try:
        found = connection.execute("SELECT count(*) FROM request WHERE id > ?", (after,)).fetchone()
    finally:
        connection.close()
    return int(found[0])


def has_requests(folder: Path, *, after: int) -> bool:
    """Whether somebody asked for more."""
    return bool(read_requests(folder, after=after, limit=1))


def _active(connection: sqlite3.Connection, message_id: int) -> dict[int, _Row]:
    """What of a message is in quarantine now."""
    return {
        row[0]: _Row(*row)
        for row in connection.execute(
            "SELECT position, late, released FROM quarantine WHERE message_id = ? AND released = 0",
            (message_id,),
        )
    }


def releases_waiting(folder: Path, state: sqlite3.Connection, days: Days, limit: int) -> list[Release]:
    """Requests that are not carried out; those that nothing is left of are passed over."""
    marks = read_marks(state)
    waiting: list[Release] = []
    for request in read_requests(folder, after=marks.release, limit=limit):
        if request.message_id > marks.head.message_id:
            break  # its refusals are in the next checkpoint
        active = _active(state, request.message_id)
        positions = tuple(position for position in request.positions if position in active or WHOLE in active)
        message = days.message(request.message_id)
        if message is not None and (positions or (message.kind == STATUS and WHOLE in active)):
            day = days.day_holding(request.message_id) or 0
            waiting.append(
                Release(request.request_id, message, positions, request.items, request.remaining, day)
            )
        elif not waiting:
            with transaction(state):
                state.execute("UPDATE mark SET release = ?", (request.request_id,))
    return waiting


def write_released(
    state: sqlite3.Connection,
    releases: Sequence[Release],
    *,
    refused: Sequence[LateRow],
    duplicates: Sequence[ReadingRow],
) -> None:
    """Take releases out of quarantine and count them, in the caller's transaction."""
    tallies = Tallies()
    rejected: dict[tuple[str, str, int, int], dict[int, tuple[str, str]]] = defaultdict(dict)
    for row, code, text in refused:
        key = (row.gateway_id, row.boot_id, row.seq, row.received_at_ms)
        rejected[key][row.position] = (code, text)
    for one in releases:
        message = one.message
        key = (message.gateway_id, message.boot_id or "", message.seq or 0, message.received_at_ms)
        _write_one(state, one, rejected.get(key, {}), tallies)
    for row in duplicates:
        tallies.add(day_of(row.received_at_ms), row.gateway_id, row.boot_id, Count.STORE_DUPLICATES)
    tallies.write(state)
    if releases:
        state.execute("UPDATE mark SET release = MAX(release, ?)", (max(one.request_id for one in releases),))


def _write_one(
    state: sqlite3.Connection,
    release: Release,
    rejected: Mapping[int, tuple[str, str]],
    tallies: Tallies,
) -> None:
    message = release.message
    active = _active(state, message.message_id)
    is_whole = WHOLE in active
    owed = [position for position in release.positions if is_whole or position in active]
    freed = [position for position in owed if position not in rejected]
    if not is_whole and not owed:
        return  # done before
    if is_whole:
        _mark(state, message.message_id, WHOLE, release.request_id)
        remaining = [one for one in release.remaining if one.position is not None]
        insert_quarantine(
            state,
            [late_row(message, one.position or 0, code=one.code, text=one.text) for one in remaining],
        )
    for position in freed:
        _mark(state, message.message_id, position, release.request_id)
    for position in owed:
        if position in rejected:
            code, text = rejected[position]
            state.execute(
                "DELETE FROM quarantine WHERE message_id = ? AND position = ?", (message.message_id, position)
            )
            insert_quarantine(state, [late_row(message, position, code=code, text=text)])
    _count(release, is_whole=is_whole, freed=len(freed), tallies=tallies)


def _mark(state: sqlite3.Connection, message_id: int, position: int, request_id: int) -> None:
    state.execute(
        "UPDATE quarantine SET released = ? WHERE message_id = ? AND position = ?",
        (request_id, message_id, position),
    )


def _count(release: Release, *, is_whole: bool, freed: int, tallies: Tallies) -> None:
    message = release.message

    def add(count: Count, number: int = 1) -> None:
        tallies.add(release.day, message.gateway_id, message.boot_id or "", count, number)

    # Items of a clone, or of a message without a key, were never counted as owed: they are from now on.
    was_owed = message.outcome is not Outcome.CLONED and message.seq is not None
    if message.outcome is Outcome.CLONED:
        add(Count.FREED_CLONES, int(is_whole))
    elif message.kind == STATUS:
        add(Count.RELEASED_STATUSES)
    elif is_whole:
        add(Count.RELEASED_MESSAGES)
    if message.kind == READINGS:
        add(Count.RELEASED_READINGS if was_owed else Count.FREED_READINGS, freed)
    elif message.kind == LOGBOOK:
        add(Count.RELEASED_ENTRIES if was_owed else Count.FREED_ENTRIES, freed)
