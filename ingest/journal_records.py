"""What goes into the journal and what comes out of it."""

from dataclasses import dataclass, field
from enum import StrEnum

from ingest.validation import Assessment, Refusal


class Outcome(StrEnum):
    """What became of a message in the journal."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    CLONED = "cloned"


class Appended(StrEnum):
    """What the journal did with a message; after each of them it may be acknowledged."""

    NEW = "new"
    REFUSED = "refused"
    CLONED = "cloned"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Entry:
    """A message to be journalled."""

    topic: str
    payload: bytes
    received_at_ms: int
    assessment: Assessment
    retained: bool = False


@dataclass(frozen=True, slots=True)
class JournalMessage:
    """A message of the journal."""

    message_id: int
    topic: str
    payload: bytes
    received_at_ms: int
    outcome: Outcome
    gateway_id: str
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of walking the chain; `broken_at` is the first message that does not fit, None if all do."""

    messages: int
    head: str
    broken_at: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GatewayAccount:
    """What the journal knows of one gateway ("" for topics outside the contract).

    Messages and readings count each (boot, seq) once, refused ones too; `duplicate_*` is what came again with the same
    bytes. `quarantined_readings` are single readings, those of wholly refused messages, and those that the store found in
    conflict; `in_flight_*` are accepted and not yet in the store. So

    readings = stored + the store's duplicates + quarantined_readings + in_flight_readings.
    """

    gateway_id: str
    boots: int
    messages: int
    readings: int
    entries: int
    statuses: int
    duplicate_messages: int
    duplicate_readings: int
    quarantined_messages: int
    quarantined_readings: int
    quarantined_entries: int
    cloned_messages: int
    in_flight_messages: int
    in_flight_readings: int


@dataclass(frozen=True, slots=True)
class JournalAccount:
    """What the journal knows of all: by gateway, and the readings that the store had already from another message."""

    gateways: list[GatewayAccount] = field(default_factory=list)
    store_duplicates: int = 0
    messages: int = 0
