"""Which seqs of a (gateway, boot) the journal holds, and what was counted of it since the last checkpoint. Pure."""

from bisect import bisect_right
from collections.abc import Callable
from enum import IntEnum

from ingest.journal.runs import source_number


class Count(IntEnum):
    """Columns of a tally, in the order of the state file's table."""

    MESSAGES = 0
    READINGS = 1
    ENTRIES = 2
    STATUSES = 3
    DUPLICATE_MESSAGES = 4
    DUPLICATE_READINGS = 5
    DUPLICATE_ENTRIES = 6
    DUPLICATE_STATUSES = 7
    REFUSED_MESSAGES = 8
    REFUSED_READINGS = 9
    REFUSED_ENTRIES = 10
    REFUSED_STATUSES = 11
    CLONED_MESSAGES = 12
    LATE_READINGS = 13
    LATE_ENTRIES = 14
    RELEASED_MESSAGES = 15
    RELEASED_READINGS = 16
    RELEASED_ENTRIES = 17
    STORE_DUPLICATES = 18
    FREED_CLONES = 19
    FREED_READINGS = 20
    FREED_ENTRIES = 21
    RELEASED_STATUSES = 22


#: (first, last) ranges of a source with last >= the given seq and first below the other one, sorted; None: without bound.
RangeLoader = Callable[[int, int | None], list[tuple[int, int]]]


class Source:
    """One (gateway, boot): its newest ranges of seqs in memory, the older ones in the state file.

    `last_range` is [first, last] of the newest range, which nearly every message extends by one; [-1, -1] at the beginning,
    so that seq 0 extends it too.
    """

    __slots__ = (
        "_load",
        "_ranges",
        "absorbed",
        "boot_id",
        "changed_from",
        "epoch",
        "gateway_id",
        "known_from",
        "last_range",
        "number",
        "tally",
    )

    def __init__(
        self,
        gateway_id: str,
        boot_id: str,
        newest: list[tuple[int, int]],
        *,
        is_complete: bool,
        load: RangeLoader,
    ) -> None:
        self.gateway_id = gateway_id
        self.boot_id = boot_id
        self.number = source_number(gateway_id, boot_id)
        self.tally = [0] * len(Count)
        #: Number of the last checkpoint during which it changed, see `State.touch`.
        self.epoch = 0
        self._load = load
        self._ranges = [[first, last] for first, last in newest] or [[-1, -1]]
        self.last_range = self._ranges[-1]
        #: Below this seq, ranges may be in the state file only.
        self.known_from = 0 if is_complete else self._ranges[0][0]
        #: First seq of the lowest range that was changed apart from the newest one, and firsts that are no more.
        self.changed_from: int | None = None
        self.absorbed: list[int] = []

    def holds(self, seq: int) -> bool:
        """Whether a seq has come."""
        if seq > self.last_range[1]:
            return False
        self._reach(seq)
        index = bisect_right(self._ranges, seq, key=_first) - 1
        return index >= 0 and self._ranges[index][1] >= seq

    def take(self, seq: int) -> None:
        """Note a seq; one that has come changes nothing."""
        if self.last_range[1] + 1 == seq:
            self.last_range[1] = seq
            return
        if seq > self.last_range[1]:
            # Messages went elsewhere (a shared subscription) or are late: the next range begins.
            self._changed(self.last_range[0])
            self.last_range = [seq, seq]
            self._ranges.append(self.last_range)
            return
        if self.holds(seq):
            return
        self._reach(seq - 1)
        self._changed(
            self.last_range[0]
        )  # it may have been extended before, and is perhaps not the newest after this
        ranges = self._ranges
        at = bisect_right(ranges, seq, key=_first)
        touches_left = at > 0 and ranges[at - 1][1] + 1 == seq
        touches_right = at < len(ranges) and ranges[at][0] == seq + 1
        if touches_left and touches_right:
            self.absorbed.append(ranges[at][0])
            ranges[at - 1][1] = ranges[at][1]
            del ranges[at]
            self._changed(ranges[at - 1][0])
        elif touches_left:
            ranges[at - 1][1] = seq
            self._changed(ranges[at - 1][0])
        elif touches_right:
            self.absorbed.append(ranges[at][0])
            ranges[at][0] = seq
            self._changed(seq)
        else:
            ranges.insert(at, [seq, seq])
            self._changed(seq)
        self.last_range = ranges[-1]

    def _changed(self, first: int) -> None:
        if self.changed_from is None or first < self.changed_from:
            self.changed_from = first

    def _reach(self, seq: int) -> None:
        """Have the ranges in memory that may hold or touch a seq."""
        if seq < self.known_from:
            older = self._load(max(seq, 0), self.known_from)
            self._ranges[:0] = [[first, last] for first, last in older]
            self.known_from = max(0, min(seq, self._ranges[0][0]))

    def changed_ranges(self) -> list[tuple[int, int]]:
        """Ranges that the state file does not have as they are."""
        if self.changed_from is None:
            first, last = self.last_range
            return [(max(first, 0), last)] if last >= 0 else []
        at = bisect_right(self._ranges, self.changed_from, key=_first) - 1
        return [(max(first, 0), last) for first, last in self._ranges[max(at, 0) :] if last >= 0]

    def all_ranges(self) -> list[tuple[int, int]]:
        """Every range, sorted; reads those that are in the state file only."""
        self._reach(0)
        return [(max(first, 0), last) for first, last in self._ranges if last >= 0]

    def forget_changes(self) -> int:
        """Note that what is new was collected for the state file; gives the number of ranges in memory."""
        self.tally = [0] * len(Count)
        self.changed_from = None
        self.absorbed = []
        return len(self._ranges)

    def trim(self, *, keep: int) -> None:
        """Keep the newest ranges in memory; the state file must have all as they are."""
        if len(self._ranges) > keep:
            del self._ranges[:-keep]
            self.known_from = self._ranges[0][0]


def _first(one: list[int]) -> int:
    return one[0]
