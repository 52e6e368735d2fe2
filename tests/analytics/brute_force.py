"""The judging of whole histories in plain loops, written from DESIGN 12.3, 12.6 and 12.8 alone: a reference for fast code.

One series, one limit end, one list of readings at a time; nothing here knows arrays, grids or the package.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Reading = tuple[int, float]
Span = tuple[int, int]


@dataclass(frozen=True)
class End:
    """One end of a range in force from `from_ms` to `to_ms`; a value at least as far inside as `well` ends an exceedance."""

    high: bool
    value: float
    closed: bool
    well: float
    from_ms: int
    to_ms: int

    def outside(self, value: float) -> bool:
        """12.3: the full value; a closed end belongs to the range."""
        if value == self.value:
            return not self.closed
        return value > self.value if self.high else value < self.value

    def well_inside(self, value: float) -> bool:
        """Inside by the hysteresis."""
        if self.outside(value):
            return False
        return value <= self.well if self.high else value >= self.well


class Piece(NamedTuple):
    """A piece of an exceedance; `end_ms` None: still open. `worst` None: no reading in it."""

    start_ms: int
    end_ms: int | None
    worst: float | None
    unverified_since_ms: int | None


class Lapse(NamedTuple):
    """A piece of overdue time; `end_ms` None: still open."""

    start_ms: int
    end_ms: int | None


def newest_of_each_step(readings: Iterable[Reading], *, step_ms: int) -> list[Reading]:
    """What a grid keeps: of each step the newest reading, the last given on a tie."""
    kept: dict[int, Reading] = {}
    for at, value in readings:
        step = at // step_ms
        if step not in kept or at >= kept[step][0]:
            kept[step] = (at, value)
    return [kept[step] for step in sorted(kept)]


def first_closed(at: int, opening: Sequence[Span]) -> int:
    """The first instant at or after `at` that lies in no opening interval."""
    for opens, closes in opening:  # by time, not touching
        if opens <= at < closes:
            return closes
    return at


def exceeded(
    readings: Sequence[Reading],
    end: End,
    *,
    confirm_ms: int,
    clear_ms: int,
    gap_ms: int,
    opening: Sequence[Span],
    now_ms: int,
) -> list[tuple[int, int | None, int | None]]:
    """12.8: start, end (None: not ended) and "unverified since" of each exceedance, closed time included."""
    found: list[tuple[int, int | None, int | None]] = []
    since: int | None = None
    run: list[int] = []
    clearing: list[int] = []
    previous: int | None = None
    for at, value in readings:
        if previous is not None and at - previous > gap_ms:
            run, clearing = [], []
            closed = first_closed(previous, opening)
            if since is not None and closed < at:
                found.append((since, closed, None))
                since = None
        previous = at
        in_force = end.from_ms <= at < end.to_ms
        if in_force and end.outside(value):
            clearing = []
            run.append(at)
            if since is None and len(run) >= 2 and run[-1] - run[0] >= confirm_ms:
                since = run[0]
        elif in_force and end.well_inside(value):
            run = []
            clearing.append(at)
            if since is not None and len(clearing) >= 2 and clearing[-1] - clearing[0] >= clear_ms:
                found.append((since, clearing[0], None))
                since = None
        else:
            run, clearing = [], []
    if since is not None and previous is not None:
        silent = now_ms - previous > gap_ms
        closed = first_closed(previous, opening)
        if silent and closed < now_ms:
            found.append((since, closed, None))
        else:
            found.append((since, None, previous if silent else None))
    return found


def exceedances(
    readings: Sequence[Reading],
    end: End,
    *,
    confirm_ms: int,
    clear_ms: int,
    gap_ms: int,
    opening: Sequence[Span],
    now_ms: int,
    begin_ms: int = -(10**18),
) -> list[Piece]:
    """The intervals of `exceeded` in open time while the limit is in force and the pool is judged, begun by now."""
    pieces = []
    for start, ended, unverified in exceeded(
        readings,
        end,
        confirm_ms=confirm_ms,
        clear_ms=clear_ms,
        gap_ms=gap_ms,
        opening=opening,
        now_ms=now_ms,
    ):
        for opens, closes in opening:
            first = max(start, opens, end.from_ms, begin_ms)
            after = min(closes, end.to_ms) if ended is None else min(closes, end.to_ms, ended)
            if first >= after or first > now_ms:
                continue
            still_open = after > now_ms
            worst: float | None = None
            for at, value in readings:
                if first <= at < after and (worst is None or (value > worst if end.high else value < worst)):
                    worst = value
            pieces.append(
                Piece(first, None if still_open else after, worst, unverified if still_open else None)
            )
    return pieces


def lapses(
    facts: Iterable[int],
    *,
    age_ms: int,
    bound: Sequence[Span],
    opening: Sequence[Span],
    now_ms: int,
) -> list[Lapse]:
    """12.6 for online monitoring: open time in which the duty binds and no fact is young enough, begun by now.

    The duty cannot be overdue the instant it begins to bind: each beginning counts as a fact. Counts at each instant
    where anything changes how many facts are young enough, and whether the pool is open and the duty binds.
    """
    covers: dict[int, int] = {}
    asked: dict[int, int] = {}
    for at in [*facts, *(begin for begin, _ in bound)]:
        covers[at] = covers.get(at, 0) + 1
        covers[at + age_ms] = covers.get(at + age_ms, 0) - 1
    for spans in (bound, opening):
        for start, end in spans:
            asked[start] = asked.get(start, 0) + 1
            asked[end] = asked.get(end, 0) - 1
    young = reasons = 0
    since: int | None = None
    found = []
    for at in sorted(covers.keys() | asked.keys()):
        young += covers.get(at, 0)
        reasons += asked.get(at, 0)
        overdue = reasons == 2 and young == 0
        if overdue and since is None:
            since = at
        elif not overdue and since is not None:
            found.append((since, at))
            since = None
    return [Lapse(start, end if end <= now_ms else None) for start, end in found if start <= now_ms]
