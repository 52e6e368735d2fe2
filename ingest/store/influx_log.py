"""Logs in InfluxDB of what was written: how a reader's cursor can follow several writers and miss nothing.

A log point carries no instant: the server stamps it when it takes it, after the rows that it tells of are stored. So one
clock orders all writers, and clocks of theirs that differ matter to nobody. Each open store is a writer with a name of its
own and writes one point at a time, so its points become visible in their order, and a cursor is a mark for each writer.
A point of another writer can become visible a little later than a younger one; the reader looks back `OVERLAP_NS` for
them. That is longer than a server works at a write, and than a server's clock should ever be set back.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from ingest.store.influx_answers import answer_columns
from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_lines import FieldValue, point_line
from ingest.store.influx_questions import FIRST_NS, log_entries, log_heads, log_points
from ingest.store.ports import StoreRejectedError

OVERLAP_NS = 60_000_000_000
#: A writer that has been quiet for longer is dropped from the cursor; it lies far outside of what is looked at again.
_FORGET_NS = 10 * OVERLAP_NS
#: InfluxDB takes texts up to 1 MiB; an entry is about 40 bytes.
_ENTRIES_OF_A_POINT = 5_000
#: Points of each writer looked at in one question.
_POINTS = 5_000


class Mark(NamedTuple):
    """How far a writer's log was read: up to the point at `at_ns`, of which `given` entries were given."""

    at_ns: int
    given: int


Marks = dict[str, Mark]
_UNREAD = Mark(FIRST_NS, 0)
_ALL = 2**62


class _Head(NamedTuple):
    at_ns: int
    writer: str
    entries: int


def parse_cursor(cursor: str | None) -> Marks:
    """Marks of a cursor.

    Raises
    ------
    StoreRejectedError
        If it is none of this store.
    """
    if cursor is None:
        return {}
    try:
        return msgspec.json.decode(cursor, type=dict[str, Mark])
    except msgspec.MsgspecError as error:
        raise StoreRejectedError(
            f"{cursor!r} is no cursor of a store in InfluxDB; give back what it gave, or None to begin anew"
        ) from error


def render_cursor(marks: Marks) -> str:
    """Text of a cursor, the same for the same marks."""
    return msgspec.json.encode(marks, order="deterministic").decode()


class Log:
    """One log in the buckets where its writers may write.

    Parameters
    ----------
    connection : InfluxConnection
        Of whoever writes or reads.
    measurement : str
        Its name.
    buckets : sequence of str
        Where it is read.
    writer : str
        Name of this writer, in no other's use.
    """

    def __init__(
        self, connection: InfluxConnection, measurement: str, *, buckets: Sequence[str], writer: str
    ) -> None:
        self._connection = connection
        self._measurement = measurement
        self._buckets = tuple(buckets)
        self._writer = writer
        self._one_at_a_time = threading.Lock()

    def tell(
        self,
        bucket: str,
        entries: Sequence[Any],
        *,
        sums: Callable[[Sequence[Any]], dict[str, int]] | None = None,
    ) -> None:
        """Append entries, which are JSON values; `sums` adds integer fields to each point."""
        with self._one_at_a_time:
            for begin in range(0, len(entries), _ENTRIES_OF_A_POINT):
                part = entries[begin : begin + _ENTRIES_OF_A_POINT]
                more = {} if sums is None else sums(part)
                fields: dict[str, FieldValue] = {
                    **more,
                    "count": len(part),
                    "entries": msgspec.json.encode(part).decode(),
                }
                line = point_line(self._measurement, {"writer": self._writer}, fields, None)
                self._connection.write(bucket, line.encode(), precision="ns")

    def after(self, cursor: str | None, *, limit: int) -> tuple[list[Any], str]:
        """Entries after a cursor in the order of writing, at most `limit`, and the cursor after them."""
        marks = parse_cursor(cursor)
        found: list[Any] = []
        while len(found) < limit:
            heads, whole = self._heads(marks, "count")
            if not heads:
                break
            found += self._take(heads, marks, limit - len(found))
            if whole:
                break
        if not found and cursor is not None:
            return found, cursor
        newest = max((mark.at_ns for mark in marks.values()), default=0)
        kept = {writer: mark for writer, mark in marks.items() if mark.at_ns > newest - _FORGET_NS}
        return found, render_cursor(kept)

    def total_after(self, cursor: str | None, field: str) -> tuple[int, list[Any]]:
        """Sum of an integer field over the points after a cursor; the rest of a point half given comes as entries."""
        marks = parse_cursor(cursor)
        rest: list[Any] = []
        for writer, mark in marks.items():
            entries = self._entries(mark.at_ns, mark.at_ns).get((mark.at_ns, writer), [])
            rest += entries[mark.given :]
        total = 0
        while True:
            heads, whole = self._heads(marks, field)
            for head in heads:
                if marks.get(head.writer, _UNREAD).at_ns < head.at_ns:
                    total += head.entries
                    marks[head.writer] = Mark(head.at_ns, _ALL)
            if whole:
                return total, rest

    def entries_with(self, field: str, values: Collection[int], *, from_ns: int, to_ns: int) -> list[Any]:
        """What the points within [from, to) say whose integer field has one of some values."""
        found: list[Any] = []
        for bucket in self._buckets:
            question = log_points(
                bucket, self._measurement, field, (min(values), max(values)), from_ns, to_ns
            )
            instants, numbers = answer_columns(self._connection.ask(question), _time="time", _value="int")
            wanted = {
                at_ns
                for at_ns, number in zip(instants.tolist(), numbers.tolist(), strict=True)
                if number in values
            }
            if wanted:
                entries = self._entries(min(wanted), max(wanted))
                found += [entry for (at_ns, _), part in entries.items() if at_ns in wanted for entry in part]
        return found

    def _heads(self, marks: Marks, field: str) -> tuple[list[_Head], bool]:
        """Points not wholly given, oldest first, and whether these are all."""
        newest = max((mark.at_ns for mark in marks.values()), default=None)
        from_ns = FIRST_NS if newest is None else newest - OVERLAP_NS
        while True:
            heads, until_ns = self._heads_from(from_ns, marks, field)
            if heads or until_ns is None:
                return sorted(heads), until_ns is None
            from_ns = until_ns + 1  # all of these were given

    def _heads_from(self, from_ns: int, marks: Marks, field: str) -> tuple[list[_Head], int | None]:
        """Points from an instant on that are not wholly given; and up to where these are all, if not for ever."""
        until_ns: int | None = None
        heads: list[_Head] = []
        for bucket in self._buckets:
            answer = self._connection.ask(log_heads(bucket, self._measurement, field, from_ns, _POINTS))
            writers, instants, counts = answer_columns(answer, writer="text", _time="time", _value="int")
            of_writer: dict[str, list[int]] = {}
            for writer, at_ns, count in zip(writers, instants.tolist(), counts.tolist(), strict=True):
                of_writer.setdefault(writer, []).append(at_ns)
                mark = marks.get(writer, _UNREAD)
                if at_ns > mark.at_ns or (at_ns == mark.at_ns and count > mark.given):
                    heads.append(_Head(at_ns, writer, count))
            for instants_ns in of_writer.values():
                if len(instants_ns) == _POINTS:
                    # There may be more of this writer: what is younger than its last must wait.
                    last_ns = max(instants_ns)
                    until_ns = last_ns if until_ns is None else min(until_ns, last_ns)
        if until_ns is not None:
            heads = [head for head in heads if head.at_ns <= until_ns]
        return heads, until_ns

    def _take(self, heads: Sequence[_Head], marks: Marks, limit: int) -> list[Any]:
        """Entries of points in their order, at most `limit`; moves the marks."""
        wanted: list[_Head] = []
        expected = 0
        for head in heads:
            wanted.append(head)
            expected += head.entries - _skip(marks, head)
            if expected >= limit:
                break
        entries = self._entries(wanted[0].at_ns, wanted[-1].at_ns)
        found: list[Any] = []
        for head in wanted:
            skip = _skip(marks, head)
            part = entries.get((head.at_ns, head.writer), [])[skip : skip + limit - len(found)]
            found += part
            marks[head.writer] = Mark(head.at_ns, skip + len(part))
        return found

    def _entries(self, from_ns: int, to_ns: int) -> dict[tuple[int, str], list[Any]]:
        found = {}
        for bucket in self._buckets:
            answer = self._connection.ask(log_entries(bucket, self._measurement, from_ns, to_ns + 1))
            writers, instants, texts = answer_columns(answer, writer="text", _time="time", _value="text")
            for writer, at_ns, text in zip(writers, instants.tolist(), texts, strict=True):
                found[at_ns, writer] = msgspec.json.decode(text)
        return found


def _skip(marks: Marks, head: _Head) -> int:
    mark = marks.get(head.writer, _UNREAD)
    return mark.given if mark.at_ns == head.at_ns else 0
