"""What comes out of the journal. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from ingest.validation import Refusal


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
class Appending:
    """What became of the messages of one commit, in their order.

    Those that are no duplicates have the ids from `first_id` to `last_id`; without any, last_id = first_id - 1.
    """

    results: list[Appended]
    first_id: int
    last_id: int


@dataclass(frozen=True, slots=True)
class JournalMessage:
    """A message of the journal. `items` counts its readings or entries, the refused ones too."""

    message_id: int
    topic: str
    payload: bytes
    received_at_ms: int
    outcome: Outcome
    kind: str
    gateway_id: str
    boot_id: str | None
    seq: int | None
    items: int
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of walking the chain: `messages` fit, and `head` is the hash after the last of them, in hexadecimal.

    `broken_at` is the first message of the first block that does not fit, None if all do.
    """

    messages: int
    head: str
    broken_at: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted of some messages. Each (boot, seq) counts once, refused messages too.

    `duplicate_*` is what came again with the same bytes; it is beside the account. `quarantined_*` is what is in quarantine
    now: single items, those of refused messages, and what the store refused. `store_duplicates` are readings that the store
    had already from another message, `in_flight_*` are accepted and not yet in the store. So

    readings = stored + store_duplicates + quarantined_readings + in_flight_readings.

    Items of a cloned message count from the moment that somebody releases them.
    """

    messages: int = 0
    readings: int = 0
    entries: int = 0
    statuses: int = 0
    duplicate_messages: int = 0
    duplicate_readings: int = 0
    duplicate_entries: int = 0
    duplicate_statuses: int = 0
    quarantined_messages: int = 0
    quarantined_readings: int = 0
    quarantined_entries: int = 0
    quarantined_statuses: int = 0
    cloned_messages: int = 0
    released_messages: int = 0
    released_readings: int = 0
    released_entries: int = 0
    store_duplicates: int = 0
    in_flight_messages: int = 0
    in_flight_readings: int = 0
    in_flight_entries: int = 0


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One gateway, boot and UTC day of receipt (`2026-11-24`). `boot_id` is "" for what carries no readable boot."""

    gateway_id: str
    boot_id: str
    day: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class BootSeqs:
    """The seqs of one boot that the journal holds: up to `highest`, without the `missing` ones.

    `holes` are the first of them as ranges, ends included; `missing` counts all.
    """

    gateway_id: str
    boot_id: str
    highest: int
    missing: int
    holes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class GatewayAccount:
    """What the journal knows of one gateway ("" for topics outside the contract)."""

    gateway_id: str
    boots: int
    tally: Tally


@dataclass(frozen=True, slots=True)
class JournalAccount:
    """What the journal knows of all, at one instant: `messages` is its length, `cursor` how far the store is."""

    gateways: tuple[GatewayAccount, ...]
    lines: tuple[AccountLine, ...]
    boots: tuple[BootSeqs, ...]
    total: Tally
    messages: int
    cursor: int
