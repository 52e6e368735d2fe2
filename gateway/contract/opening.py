"""When a pool is open: its opening hours as instants, half-open, in milliseconds since the epoch.

The hours are read off the clock on the pool's wall. In the night in which an hour comes twice, an opening counts
at its first coming and a closing at its second; a time that is left out counts at the change.
"""

import re
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import opening_hours

from gateway.contract.errors import ContractError
from gateway.contract.local_time import first_ms, last_ms, time_zone, wall_time
from gateway.contract.registry import OpeningHours, Pool

#: Of a country's public holidays the library knows the statutory days; longer closures go into the registry.
_COUNTRY = "CN"
_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
_LOOK_AHEAD_MS = 400 * _DAY_MS
#: Most pools change within this, so that the long look ahead is rarely needed.
_NEAR_MS = 2 * _DAY_MS
# No clock's change moves it by more than a day: beyond this a window needs nothing of the wall clock.
_MARGIN = _DAY

# What the syntax can say and nobody can judge by: each with what to write instead.
_NOT_JUDGED = (
    (re.compile(r"sunrise|sunset|dawn|dusk"), "depends on the sun: write clock times"),
    (re.compile(r"\bSH\b"), "depends on school holidays, which are not known here: write their dates"),
    (re.compile(r"\d\s*\+"), "has an open end: write when it closes"),
)
_COMMENT = re.compile(r'"[^"]*"')
# A year that has every kind of day: with 29 February and China's holidays.
_SAMPLE = (datetime(2028, 1, 1), datetime(2029, 1, 1))  # noqa: DTZ001 - the wall clock has no zone

#: From 1900 to 9000: outside of it no pool is open, and the calendar's ends are far away.
_FIRST_MS, _LAST_MS = -2_208_988_800_000, 221_845_392_000_000

Interval = tuple[int, int]


@lru_cache(maxsize=4096)
def _parsed(expression: str) -> opening_hours.OpeningHours:
    try:
        return opening_hours.OpeningHours(expression, country=_COUNTRY)
    except opening_hours.ParserError as error:  # type: ignore[attr-defined] # absent from its stubs
        raise ContractError(_one_line(str(error))) from error


def _one_line(text: str) -> str:
    """Position and expectation of the library's drawing of an error."""
    position = text.partition("-->")[2].strip().split("\n", maxsplit=1)[0]
    column = position.partition(":")[2].strip() or "1"
    expected = text.partition("= ")[2].strip().replace("\n", " ")
    return f"cannot be read from character {column} on: {expected}"


@lru_cache(maxsize=4096)
def check_expression(expression: str) -> None:
    """See that a pool can be judged by an expression.

    Raises
    ------
    ContractError
        If it is not of the OpenStreetMap syntax, with the position, or leaves open when the pool is open.
    """
    if not expression.strip():
        raise ContractError("is empty; write `24/7`, or `off` for never")
    parsed = _parsed(expression)
    if parsed.warnings:
        raise ContractError("; ".join(parsed.warnings))
    plain = _COMMENT.sub("", expression)
    for pattern, reason in _NOT_JUDGED:
        if pattern.search(plain):
            raise ContractError(reason)
    if any(state == opening_hours.State.UNKNOWN for _, _, state, _ in parsed.intervals(*_SAMPLE)):
        raise ContractError("leaves times unknown: say open or closed (`off`)")


def _expression_intervals(expression: str, zone: ZoneInfo, from_ms: int, to_ms: int) -> list[Interval]:
    intervals = []
    # The library works in whole minutes of the wall clock: begin and end wide of the window, and cut afterwards.
    start = wall_time(from_ms, zone).replace(second=0, microsecond=0) - _MARGIN
    end = wall_time(to_ms, zone).replace(second=0, microsecond=0) + _MARGIN
    for begins, ends, state, _ in _parsed(expression).intervals(start, end):
        if state == opening_hours.State.OPEN:
            low = max(first_ms(begins, zone), from_ms)
            high = min(last_ms(ends, zone), to_ms)
            if low < high:
                intervals.append((low, high))
    return intervals


def merge(intervals: list[Interval]) -> list[Interval]:
    """Sorted union of half-open intervals; touching ones become one."""
    merged: list[Interval] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def open_intervals(pool: Pool, *, from_ms: int, to_ms: int) -> list[Interval]:
    """Open time of a pool within [from_ms, to_ms): sorted, merged, half-open.

    In milliseconds. Each expression of the pool holds from its `from_ms` until the next one's; before the first
    one's the pool is closed. Public holidays (`PH`) are China's.
    """
    zone = time_zone(pool.time_zone)
    from_ms, to_ms = max(from_ms, _FIRST_MS), min(to_ms, _LAST_MS)
    found: list[Interval] = []
    for index, hours in enumerate(pool.opening):
        begins, ends = _in_force(pool.opening, index, hours, from_ms, to_ms)
        if begins < ends:
            found += _expression_intervals(hours.expression, zone, begins, ends)
    return merge(found)


def _in_force(
    opening: tuple[OpeningHours, ...], index: int, hours: OpeningHours, from_ms: int, to_ms: int
) -> Interval:
    begins = from_ms if hours.from_ms is None else max(from_ms, hours.from_ms)
    follower = opening[index + 1].from_ms if index + 1 < len(opening) else None
    return begins, to_ms if follower is None else min(to_ms, follower)


def is_open(pool: Pool, *, at_ms: int) -> bool:
    """Whether the opening hours have the pool open at an instant."""
    return bool(open_intervals(pool, from_ms=at_ms, to_ms=at_ms + 1))


def next_change_ms(pool: Pool, *, at_ms: int) -> int | None:
    """The next instant after `at_ms` at which the pool opens or closes; None if none within 400 days."""
    for span_ms in (_NEAR_MS, _LOOK_AHEAD_MS):
        to_ms = at_ms + span_ms
        # One millisecond wide of the end: an edge there is made by the cut.
        for interval in open_intervals(pool, from_ms=at_ms, to_ms=to_ms + 1):
            for edge in interval:
                if at_ms < edge <= to_ms:
                    return edge
    return None
