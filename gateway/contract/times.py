"""Instants on the wire and in the system.

On the wire: RFC 3339, UTC, `Z`, three decimals or none. Inside: whole milliseconds since 1970-01-01T00:00:00Z.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gateway.contract.errors import ContractError

TIMESTAMP_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z$(?!\n)"
_TIMESTAMP = re.compile(TIMESTAMP_PATTERN, re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

#: A clock that is passed in: () -> milliseconds since the epoch. No module reads one by itself.
Clock = Callable[[], int]


def parse_timestamp(text: str) -> int:
    """Milliseconds since the epoch of a wire timestamp.

    Raises
    ------
    ContractError
        If the text is not RFC 3339 with `Z` and three decimals or none, or no real date.
    """
    if not _TIMESTAMP.fullmatch(text):
        raise ContractError(f"{text!r} is not a time in the form 2026-07-01T08:00:00.000Z")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ContractError(f"{text!r} is not a real date and time: {error}") from error
    return (instant - _EPOCH) // _MILLISECOND


def format_timestamp(instant_ms: int) -> str:
    """Wire form, with three decimals, of milliseconds since the epoch."""
    instant = _EPOCH + instant_ms * _MILLISECOND
    # Not by strftime: on Linux it writes the year 7 as `7`.
    return f"{instant.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
