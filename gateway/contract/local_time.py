"""Instants and the clock on a pool's wall, through the hours that a change of the clock repeats or leaves out."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.contract.errors import ContractError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)


@lru_cache(maxsize=256)
def time_zone(name: str) -> ZoneInfo:
    """Time zone of a name like ``Asia/Shanghai``.

    Raises
    ------
    ContractError
        If there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ContractError(f"{name!r} is no time zone; write one like 'Asia/Shanghai'") from error


def to_ms(instant: datetime) -> int:
    """Milliseconds since the epoch of an instant with its offset; a part of one is cut off."""
    return (instant - _EPOCH) // _MILLISECOND


def wall_time(instant_ms: int, zone: ZoneInfo) -> datetime:
    """What the clock on the wall shows, without zone."""
    return (_EPOCH + instant_ms * _MILLISECOND).astimezone(zone).replace(tzinfo=None, fold=0)


def first_ms(wall: datetime, zone: ZoneInfo) -> int:
    """The first instant at which the wall clock shows this time or a later one.

    In milliseconds since the epoch. A time that comes twice in autumn counts at its first coming; one that
    spring leaves out, at the change.
    """
    earlier = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    later = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    # With a time that is left out, fold 0 carries the offset before the change: it lies after fold 1.
    return to_ms(earlier) if earlier <= later else _change_ms(later, earlier, zone)


def last_ms(wall: datetime, zone: ZoneInfo) -> int:
    """The instant at which a span that ends at this whole second of the wall clock is over.

    In milliseconds since the epoch. Its last second, if it comes twice in autumn, counts at its second coming.
    """
    second = wall - _SECOND
    earlier = second.replace(tzinfo=zone, fold=0).astimezone(UTC)
    later = second.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return to_ms(later + _SECOND) if earlier <= later else _change_ms(later, earlier, zone)


def _change_ms(before: datetime, after: datetime, zone: ZoneInfo) -> int:
    """The instant between two at which the zone's offset changes, to the second."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return to_ms(after)
