"""What goes into an outbox and comes out of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class OutboxMessage(NamedTuple):
    """A kept message. `created_at_ms` is when it was appended."""

    message_id: int
    boot_id: str
    seq: int
    topic: str
    payload: bytes
    readings: int
    created_at_ms: int


class Draft(NamedTuple):
    """A message to append: its topic, its payload once the seq is known, and how many readings it carries."""

    topic: str
    encode: Callable[[int], bytes]
    readings: int


class Dropped(NamedTuple):
    """Readings given up for lack of room: the span of their appending, and how much they were."""

    from_ms: int
    to_ms: int
    messages: int
    readings: int


@dataclass(frozen=True, slots=True)
class OutboxAccount:
    """What this gateway ever appended, and where it is. `boots`: next seq of each boot.

    sent = confirmed by a receipt + pending + dead + dropped. Readings that could not even be kept, because the disk was
    full, count as sent and dropped, in no message.
    """

    messages_sent: int
    readings_sent: int
    messages_pending: int
    readings_pending: int
    messages_dead: int
    readings_dead: int
    messages_dropped: int
    readings_dropped: int
    boots: dict[str, int] = field(default_factory=dict)
