"""The packed groups of an outbox's file: packing the oldest rows, reading, and what receipts and drops leave of them.

Every function works within the caller's transaction. Groups never overlap, and every row's id is above theirs.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gateway.outbox_packing import (
    DEAD,
    DEAD_IN_SILENCE,
    GONE,
    GROUP_SPAN,
    Member,
    first_and_last_pending,
    is_pending,
    left_of,
    pack,
    readings_as_bytes,
    readings_of_bytes,
    unpack,
)
from gateway.outbox_records import Dropped

#: What a group's row of states takes besides its body. [byte]
_STATES_BYTES = 3 * GROUP_SPAN + 64


class StoredMessage(NamedTuple):
    """A row of `message`, or a member of a group that looks like one."""

    message_id: int
    topic: str
    payload: bytes
    readings: int
    created_at_ms: int
    state: int


def insert_group(connection: sqlite3.Connection, messages: Sequence[StoredMessage]) -> None:
    """Keep messages, ascending and at most `GROUP_SPAN` ids apart, as a group."""
    first_id = messages[0].message_id
    span = messages[-1].message_id - first_id + 1
    states, readings = bytearray([GONE]) * span, [0] * span
    for message in messages:
        states[message.message_id - first_id] = message.state
        readings[message.message_id - first_id] = message.readings
    body = pack(
        [
            Member(message.message_id - first_id, message.topic, message.payload, message.created_at_ms)
            for message in messages
        ]
    )
    connection.execute(
        "INSERT INTO packed_group VALUES (?, ?, ?, ?, ?, ?)",
        (
            first_id,
            messages[0].created_at_ms,
            messages[-1].created_at_ms,
            json.dumps(sorted({message.topic for message in messages})),
            sum(len(message.payload) for message in messages),
            body,
        ),
    )
    packed = readings_as_bytes(readings)
    connection.execute(
        "INSERT INTO packed_left VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (first_id, *left_of(bytes(states), packed), bytes(states), packed),
    )


def pack_oldest(connection: sqlite3.Connection) -> int:
    """Pack the oldest rows into one group; returns how many rows that were."""
    rows = oldest_rows(connection, GROUP_SPAN)
    if not rows:
        return 0
    messages = [row for row in rows if row.message_id < rows[0].message_id + GROUP_SPAN]
    insert_group(connection, messages)
    connection.execute("DELETE FROM message WHERE id <= ?", (messages[-1].message_id,))
    return len(messages)


def oldest_rows(connection: sqlite3.Connection, limit: int) -> list[StoredMessage]:
    """Messages that are kept as rows, oldest first, in any state."""
    query = "SELECT id, topic, payload, readings, created_at_ms, state FROM message ORDER BY id LIMIT ?"
    return [StoredMessage(*row) for row in connection.execute(query, (limit,))]


def packed_bytes(plain: Sequence[StoredMessage], *, page_bytes: int) -> int:
    """Bytes on disk that messages would take as a group, in whole pages."""
    first_id = plain[0].message_id
    members = [Member(one.message_id - first_id, one.topic, one.payload, one.created_at_ms) for one in plain]
    return group_bytes(len(pack(members)), page_bytes=page_bytes)


def group_bytes(body_bytes: int, *, page_bytes: int) -> int:
    """Bytes on disk of a group with a body of this size: whole pages, and its states."""
    return -(-body_bytes // page_bytes) * page_bytes + _STATES_BYTES


class PackedGroups:
    """Reading the groups; the last one that was unpacked is remembered, for what is read comes in their order."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._unpacked: tuple[int, list[Member]] | None = None

    def after(self, after_id: int) -> Iterator[StoredMessage]:
        """Messages with an id above `after_id`, oldest first, in any state but gone."""
        query = (
            "SELECT first_id, first_id + length(states) - 1 AS last_id FROM packed_left "
            "WHERE last_id > ? AND first_id > ? ORDER BY first_id LIMIT 1"
        )
        while True:
            found = self._connection.execute(query, (after_id, after_id - GROUP_SPAN)).fetchone()
            if found is None:
                return
            for message in self.of_group(found[0]):
                if message.message_id > after_id:
                    yield message
            after_id = found[1]

    def of_group(self, first_id: int) -> list[StoredMessage]:
        """Members of one group that are not gone."""
        states, readings = self._connection.execute(
            "SELECT states, readings FROM packed_left WHERE first_id = ?", (first_id,)
        ).fetchone()
        counts = readings_of_bytes(readings)
        return [
            StoredMessage(first_id + place, topic, payload, counts[place], created_at_ms, states[place])
            for place, topic, payload, created_at_ms in self._members(first_id)
            if states[place] != GONE
        ]

    def _members(self, first_id: int) -> list[Member]:
        if self._unpacked is None or self._unpacked[0] != first_id:
            query = "SELECT body FROM packed_group WHERE first_id = ?"
            (body,) = self._connection.execute(query, (first_id,)).fetchone()
            try:
                self._unpacked = (first_id, unpack(body))
            except ValueError as error:
                raise sqlite3.DatabaseError(f"group {first_id}: {error}") from error
        return self._unpacked[1]

    def forget(self) -> None:
        """Know of no group that was unpacked: it may have been written anew."""
        self._unpacked = None

    def newest_of_other_topics(self, seen: set[str]) -> list[StoredMessage]:
        """The newest pending message of each topic that is not among those seen."""
        wanted = {
            topic
            for (topics,) in self._connection.execute(
                "SELECT DISTINCT topics FROM packed_group JOIN packed_left USING (first_id) WHERE pending > 0"
            )
            for topic in json.loads(topics)
        } - seen
        found: list[StoredMessage] = []
        groups = self._connection.execute(
            "SELECT first_id, topics FROM packed_group JOIN packed_left USING (first_id) WHERE pending > 0 "
            "ORDER BY first_id DESC"
        )
        for first_id, topics in groups.fetchall() if wanted else ():
            if wanted.isdisjoint(json.loads(topics)):
                continue
            for message in reversed(self.of_group(first_id)):
                if message.topic in wanted and is_pending(message.state):
                    found.append(message)
                    wanted.discard(message.topic)
            if not wanted:
                break
        return found

    def pending_spans(
        self, boots_of: Callable[[int, int], list[tuple[int, int]]]
    ) -> Iterator[tuple[int, int]]:
        """First and last pending id of each group within each boot; `boots_of` cuts ids [first, last] by boots."""
        query = "SELECT first_id, states FROM packed_left WHERE pending > 0 ORDER BY first_id"
        for first_id, states in self._connection.execute(query):
            for begin_id, last_id in boots_of(first_id, first_id + len(states) - 1):
                span = first_and_last_pending(states, begin_id - first_id, last_id - first_id + 1)
                if span is not None:
                    yield first_id + span[0], first_id + span[1]


def change_states(
    connection: sqlite3.Connection, first_id: int, last_id: int, change: Callable[[int], int]
) -> list[tuple[int, int]]:
    """Change the states of ids [first_id, last_id] in their groups; returns (id, new state) of those that changed.

    A group of which nothing is left goes.
    """
    changed: list[tuple[int, int]] = []
    query = "SELECT first_id, states, readings FROM packed_left WHERE first_id > ? AND first_id <= ? ORDER BY first_id"
    for group_id, states, readings in connection.execute(query, (first_id - GROUP_SPAN, last_id)).fetchall():
        fresh = bytearray(states)
        begin = max(first_id - group_id, 0)
        end = min(last_id - group_id + 1, len(states))
        for place in range(begin, end):
            if states[place] != GONE and (state := change(states[place])) != states[place]:
                fresh[place] = state
                changed.append((group_id + place, state))
        if fresh != states:
            write_states(connection, group_id, bytes(fresh), readings)
    return changed


def write_states(connection: sqlite3.Connection, group_id: int, states: bytes, readings: bytes) -> None:
    """Write the states of a group; one of which nothing is left goes."""
    if states.count(GONE) == len(states):
        for table in ("packed_left", "packed_group"):
            connection.execute(f"DELETE FROM {table} WHERE first_id = ?", (group_id,))
        return
    connection.execute(
        "UPDATE packed_left SET (pending, readings_pending, dead, readings_dead, silent, states) = (?, ?, ?, ?, ?, ?) "
        "WHERE first_id = ?",
        (*left_of(states, readings), states, group_id),
    )


def revive_packed(connection: sqlite3.Connection, *, groups: int) -> int:
    """Make dead letters in silence pending again, of at most so many groups; returns how many."""
    revived = 0
    for group_id, states, readings in connection.execute(
        "SELECT first_id, states, readings FROM packed_left WHERE silent > 0 ORDER BY first_id LIMIT ?",
        (groups,),
    ).fetchall():
        revived += states.count(DEAD_IN_SILENCE)
        write_states(connection, group_id, states.replace(bytes([DEAD_IN_SILENCE]), b"\0"), readings)
    return revived


def drop_oldest_group(
    connection: sqlite3.Connection, groups: PackedGroups, *, dead_too: bool = False
) -> Dropped | None:
    """Drop what may still be sent of the oldest group that has some; its dead letters are packed again and stay.

    Parameters
    ----------
    dead_too : bool
        Drop the oldest group with its dead letters.

    Returns
    -------
    Dropped or None
        None if there is nothing of the kind in any group.
    """
    row = connection.execute(
        f"SELECT first_id FROM packed_left WHERE {'1' if dead_too else 'pending + silent > 0'} "
        "ORDER BY first_id LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    members = groups.of_group(row[0])
    stay = [] if dead_too else [member for member in members if member.state == DEAD]
    for table in ("packed_left", "packed_group"):
        connection.execute(f"DELETE FROM {table} WHERE first_id = ?", row)
    groups.forget()
    if stay:
        insert_group(connection, stay)
    return dropped_span([member for member in members if dead_too or member.state != DEAD])


def drop_oldest_rows(connection: sqlite3.Connection, *, before_id: int, limit: int) -> Dropped | None:
    """Drop the oldest rows that may still be sent, below an id; None if there is none."""
    rows = connection.execute(
        "SELECT id, topic, x'', readings, created_at_ms, state FROM message WHERE state != ? AND id < ? "
        "ORDER BY id LIMIT ?",
        (DEAD, before_id, limit),
    ).fetchall()
    if not rows:
        return None
    connection.execute("DELETE FROM message WHERE id <= ? AND state != ?", (rows[-1][0], DEAD))
    return dropped_span([StoredMessage(*row) for row in rows])


def dropped_span(messages: Sequence[StoredMessage]) -> Dropped:
    """How much these messages are, and when they were appended; at least one."""
    return Dropped(
        messages[0].created_at_ms,
        messages[-1].created_at_ms,
        len(messages),
        sum(message.readings for message in messages),
    )
