"""When a pool is open: its opening hours as instants, half-open, in milliseconds since the epoch."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import opening_hours

from gateway.contract.errors import ContractError
from gateway.contract.registry import OpeningHours, Pool

#: Of a country's public holidays the library knows the statutory days; longer closures go into the registry.
_COUNTRY = "CN"
_LOOK_AHEAD_MS = 400 * 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Interval = tuple[int, int]


@lru_cache(maxsize=4096)
def _parsed(expression: str, time_zone: str) -> opening_hours.OpeningHours:
    try:
        return opening_hours.OpeningHours(expression, timezone=ZoneInfo(time_zone), country=_COUNTRY)
    except opening_hours.ParserError as error:  # type: ignore[attr-defined] # absent from its stubs
        raise ContractError(_one_line(str(error))) from error


def _one_line(text: str) -> str:
    """Position and expectation of the library's drawing of an error."""
    position = text.partition("-->")[2].strip().split("\n", maxsplit=1)[0]
    column = position.partition(":")[2].strip() or "1"
    expected = text.partition("= ")[2].strip().replace("\n", " ")
    return f"cannot be read from character {column} on: {expected}"


def check_expression(expression: str, *, time_zone: str) -> None:
    """Raise ContractError, with the position, if an expression is not of the OpenStreetMap syntax."""
    _parsed(expression, time_zone)


def _to_local(instant_ms: int, zone: ZoneInfo) -> datetime:
    return (_EPOCH + instant_ms * _MILLISECOND).astimezone(zone)


def _to_ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // _MILLISECOND


def _expression_intervals(hours: OpeningHours, pool: Pool, from_ms: int, to_ms: int) -> list[Interval]:
    zone = ZoneInfo(pool.time_zone)
    parsed = _parsed(hours.expression, pool.time_zone)
    intervals = []
    # The library works in whole minutes: begin on one, and cut afterwards.
    start = _to_local(from_ms - from_ms % 60_000, zone)
    end = _to_local(to_ms + 60_000, zone)
    for begins, ends, state, _ in parsed.intervals(start, end):
        if state == opening_hours.State.OPEN:
            low = max(_to_ms(begins), from_ms)
            high = to_ms if ends is None else min(_to_ms(ends), to_ms)
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
    """Open time of a pool within [from_ms, to_ms): sorted, merged, half-open. [ms]

    Each expression of the pool holds from its `from_ms` until the next one's. Public holidays (`PH`) are China's.
    """
    found: list[Interval] = []
    for index, hours in enumerate(pool.opening):
        begins = from_ms if hours.from_ms is None else max(from_ms, hours.from_ms)
        follower = pool.opening[index + 1].from_ms if index + 1 < len(pool.opening) else None
        ends = to_ms if follower is None else min(to_ms, follower)
        if begins < ends:
            found += _expression_intervals(hours, pool, begins, ends)
    return merge(found)


def is_open(pool: Pool, *, at_ms: int) -> bool:
    """Whether the opening hours have the pool open at an instant."""
    return bool(open_intervals(pool, from_ms=at_ms, to_ms=at_ms + 1))


def next_change_ms(pool: Pool, *, at_ms: int) -> int | None:
    """The next instant after `at_ms` at which the pool opens or closes; None if none within 400 days."""
    span_ms = 2 * 86_400_000
    while True:
        to_ms = at_ms + min(span_ms, _LOOK_AHEAD_MS)
        intervals = open_intervals(pool, from_ms=at_ms, to_ms=to_ms)
        edges = [edge for interval in intervals for edge in interval if at_ms < edge < to_ms]
        if edges:
            return edges[0]
        if span_ms >= _LOOK_AHEAD_MS:
            return None
        span_ms *= 8
