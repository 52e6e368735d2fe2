"""The room of an outbox: what its file really takes, making room, and what packed messages will take."""

import sqlite3

from gateway.outbox_disk import LOG_BYTES
from gateway.outbox_groups import (
    PackedGroups,
    drop_oldest_group,
    drop_oldest_rows,
    group_bytes,
    oldest_rows,
    packed_bytes,
)
from gateway.outbox_packing import GROUP_SPAN
from gateway.outbox_records import Dropped

#: When room is made, this share of it is freed at once, so that it is not made for each message.
_DROP_SHARE = 0.02
#: Rows are dropped so many at a time.
_ROWS_AT_ONCE = 32
#: The rate of packing is taken from this many of the newest groups, …
_GROUPS_LOOKED_AT = 8
#: … or tried with what waits, if that is at least so much. Before, messages are taken as they are.
_FEWEST_ROWS = 16


class Room:
    """The room in one outbox's file. [byte]"""

    def __init__(self, connection: sqlite3.Connection, max_bytes: int) -> None:
        self._connection = connection
        self._max_bytes = max_bytes
        self._page_bytes = self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def taken(self) -> int:
        """What the file takes, without pages that it no longer uses. [byte]"""
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._page_bytes

    def fill(self) -> float:
        """Share of the room that is taken, 0 to about 1."""
        return self.taken() / self._max_bytes

    def left(self, *, disk_free: int) -> int:
        """Room that is left, or less if the disk has less; pages that the file no longer uses count as free. [byte]"""
        unused = self._pragma("freelist_count") * self._page_bytes
        return max(0, min(self._max_bytes - self.taken(), disk_free + unused - LOG_BYTES))

    def make(self, groups: PackedGroups, *, before_id: int) -> Dropped | None:
        """Drop the oldest messages if too much room is taken, none from `before_id` on; returns what was dropped.

        Dead letters go only when nothing else is left to drop.
        """
        if (
            self._pragma("page_count") * self._page_bytes <= self._max_bytes
            or self.taken() <= self._max_bytes
        ):
            return None
        wanted = int(self._max_bytes * (1.0 - _DROP_SHARE))
        dropped: Dropped | None = None
        while self.taken() > wanted:
            one = (
                drop_oldest_group(self._connection, groups)
                or drop_oldest_rows(self._connection, before_id=before_id, limit=_ROWS_AT_ONCE)
                or drop_oldest_group(self._connection, groups, dead_too=True)
            )
            if one is None:
                break
            dropped = one if dropped is None else _joined(dropped, one)
        return dropped

    def packed_share(self) -> float:
        """What a byte of payload takes on disk in the end, from what was packed last, or from a trial. [-]"""
        groups = self._connection.execute(
            "SELECT plain_bytes, length(body) FROM packed_group ORDER BY first_id DESC LIMIT ?",
            (_GROUPS_LOOKED_AT,),
        ).fetchall()
        plain: int = sum(group[0] for group in groups)
        if plain:
            packed: int = sum(group_bytes(group[1], page_bytes=self._page_bytes) for group in groups)
            return packed / plain
        rows = oldest_rows(self._connection, GROUP_SPAN)
        plain = sum(len(row.payload) for row in rows)
        if len(rows) < _FEWEST_ROWS or not plain or rows[-1].message_id - rows[0].message_id >= GROUP_SPAN:
            return 1.0
        # A small trial compresses worse than a whole group, and its last page is emptier: that errs on the safe side.
        return min(1.0, packed_bytes(rows, page_bytes=self._page_bytes) / plain)


def _joined(one: Dropped, other: Dropped) -> Dropped:
    return Dropped(one.from_ms, other.to_ms, one.messages + other.messages, one.readings + other.readings)
