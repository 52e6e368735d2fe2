"""Boots and their messages' ids: id = first id of the boot + seq, boots one after the other. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise


class Boots:
    """The boots of an outbox.

    Parameters
    ----------
    rows : iterable of (boot_id, first_id, next_seq)
        In any order. A boot without messages shares its first id with the next one.
    """

    def __init__(self, rows: Iterable[tuple[str, int, int]]) -> None:
        self._first_id: dict[str, int] = {}
        self._next_seq: dict[str, int] = {}
        self._starts: list[int] = []
        self._names: list[str] = []
        for boot_id, first_id, next_seq in sorted(rows, key=lambda row: (row[1], row[2])):
            self.begin(boot_id, first_id)
            self._next_seq[boot_id] = next_seq

    def begin(self, boot_id: str, first_id: int) -> None:
        """Begin a boot behind all others; one before it at the same id never had a message."""
        self._first_id[boot_id] = first_id
        if self._starts and self._starts[-1] == first_id:
            self._next_seq[self._names[-1]] = 0
            self._names[-1] = boot_id
            return
        if self._starts:
            self._next_seq[self._names[-1]] = first_id - self._starts[-1]
        self._starts.append(first_id)
        self._names.append(boot_id)

    def first_id(self, boot_id: str) -> int:
        """Id of the message with seq 0 of a boot."""
        return self._first_id[boot_id]

    def of_id(self, message_id: int) -> tuple[str, int]:
        """Boot and seq of a message."""
        place = bisect_right(self._starts, message_id) - 1
        return self._names[place], message_id - self._starts[place]

    def ids(
        self, boot_id: str, ranges: Sequence[tuple[int, int]], *, next_seq: int | None
    ) -> list[tuple[int, int]]:
        """First and last ids of ranges of seqs of a boot, united, ascending; none of a boot that never was here.

        Parameters
        ----------
        next_seq : int or None
            How far the boot has come, if it is the current one.
        """
        first_id = self._first_id.get(boot_id)
        if first_id is None:
            return []
        most = (self._next_seq.get(boot_id, 0) if next_seq is None else next_seq) - 1
        united: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            begin, end = first_id + first, first_id + min(last, most)
            if end < begin:
                continue
            if united and begin <= united[-1][1] + 1:
                united[-1] = (united[-1][0], max(united[-1][1], end))
            else:
                united.append((begin, end))
        return united

    def spans(self) -> list[tuple[int, int]]:
        """First and last id that each boot may have, in order; the last one has no end yet."""
        return [
            (start, following - 1)
            for start, following in zip(self._starts, [*self._starts[1:], 1 << 62], strict=True)
        ]

    def cut(self, first_id: int, last_id: int) -> list[tuple[int, int]]:
        """Cut ids [first_id, last_id] where a boot begins."""
        begin = bisect_right(self._starts, first_id)
        end = bisect_right(self._starts, last_id)
        edges = [first_id, *self._starts[begin:end], last_id + 1]
        return [(edge, following - 1) for edge, following in pairwise(edges)]

    def ranges(self, spans: Iterable[tuple[int, int]]) -> list[tuple[str, int, int]]:
        """(boot_id, first seq, next seq) of each boot that spans of ids touch, in order; no span crosses a boot."""
        found: dict[str, tuple[int, int]] = {}
        for first_id, last_id in sorted(spans):
            boot_id, first = self.of_id(first_id)
            following = first + last_id - first_id + 1
            least, most = found.get(boot_id, (first, following))
            found[boot_id] = (min(least, first), max(most, following))
        return [(boot_id, first, following) for boot_id, (first, following) in found.items()]
