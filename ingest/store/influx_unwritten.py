"""What ingest knows to be unwritten, pool by pool, so that only other readings need a question to the store. Pure.

Nothing is newer than a pool's newest instant. A jump forward leaves a hole behind it: gateways send their newest message
first after an outage, and then the backlog, oldest first, which falls into the hole. A hole shrinks as it is filled.
A process that has just begun knows the newest instants only; `note_hole` tells it of the hole that a question found.

Several ingests on one subscription each have knowledge of their own. Between them a reading can be written twice: the
same message gives the same point, two messages for one instant leave the value that was written last. Small jumps make
no hole, because another ingest may have filled them.
"""

from collections.abc import Sequence

BEFORE_ALL_MS = -(2**62)
#: Shorter jumps are the ordinary pace of sensors, or the share of other ingests. [ms]
HOLE_MS = 300_000
#: A pool's longest holes are remembered: twelve bytes-sized numbers for each of 100,000 pools at worst.
HOLES_OF_A_POOL = 6

Hole = tuple[int, int]


class Unwritten:
    """Newest instants and holes by pool; a few numbers a pool."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._holes: dict[str, list[Hole]] = {}

    def unknown(self, pools: Sequence[str]) -> list[str]:
        """Those of which nothing is known yet."""
        return [pool for pool in pools if pool not in self._newest]

    def learn(self, pool_id: str, newest_ms: int | None) -> None:
        """Note a pool's newest instant in the store; None if it has none."""
        self._newest[pool_id] = BEFORE_ALL_MS if newest_ms is None else newest_ms

    def newest_ms(self, pool_id: str) -> int:
        """Nothing newer is stored. [ms since the epoch]"""
        return self._newest[pool_id]

    def in_hole(self, pool_id: str, instant_ms: int) -> bool:
        """Whether an instant at or before the newest one is known to be unwritten."""
        return any(first < instant_ms < last for first, last in self._holes.get(pool_id, ()))

    def note_hole(self, pool_id: str, hole: Hole) -> None:
        """Remember that nothing lies strictly between two instants."""
        if hole[1] - hole[0] < HOLE_MS:
            return
        holes = [*self._holes.get(pool_id, ()), hole]
        holes.sort(key=lambda one: one[0] - one[1])
        self._holes[pool_id] = sorted(holes[:HOLES_OF_A_POOL])

    def note_next(self, pool_id: str, first_ms: int, last_ms: int) -> bool:
        """Take written instants without a long gap between them, if they follow the newest one; whether they do."""
        newest = self._newest[pool_id]
        if first_ms <= newest or first_ms - newest >= HOLE_MS:
            return False
        self._newest[pool_id] = last_ms
        return True

    def note_written(self, pool_id: str, instants_ms: Sequence[int]) -> None:
        """Take a pool's written instants, sorted; those that were known already may be among them."""
        newest = self._newest[pool_id]
        self._fill(pool_id, instants_ms)
        if instants_ms[-1] <= newest:
            return
        edge = newest
        for instant in instants_ms:
            if instant > edge:
                self.note_hole(pool_id, (edge, instant))
                edge = instant
        self._newest[pool_id] = edge

    def _fill(self, pool_id: str, instants_ms: Sequence[int]) -> None:
        holes = self._holes.pop(pool_id, None)
        for first, last in holes or ():
            edge = first
            for instant in instants_ms:
                if first < instant < last:
                    self.note_hole(pool_id, (edge, instant))
                    edge = instant
            self.note_hole(pool_id, (edge, last))
