"""Facts that people or devices enter: closures, maintenance, calibration, corrections and more."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.contract.readings import BootId, Id, SchemaNumber, Seq, ShortText, Timestamp
from gateway.contract.times import parse_timestamp


class EntryKind(StrEnum):
    """What a logbook entry is about."""

    CLOSURE = "closure"
    REOPENING = "reopening"
    MAINTENANCE = "maintenance"
    CALIBRATION = "calibration"
    LABORATORY_REPORT = "laboratory_report"
    CORRECTION = "correction"
    NOTICE_BOARD = "notice_board"
    ACKNOWLEDGEMENT = "acknowledgement"


#: The optional fields, as attributes of `LogbookEntry`, that a kind of entry cannot do without.
NEEDED_FIELDS: dict[EntryKind, tuple[str, ...]] = {
    EntryKind.MAINTENANCE: ("from_", "until"),
    EntryKind.CALIBRATION: ("sensor_id",),
    EntryKind.LABORATORY_REPORT: ("passed",),
    EntryKind.CORRECTION: ("refers_to",),
    EntryKind.ACKNOWLEDGEMENT: ("refers_to",),
    EntryKind.NOTICE_BOARD: ("measured_at", "quantities"),
}


class LogbookEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry. Which of the optional fields a kind needs is checked by the codec.

    `from_` and `until` belong to maintenance, `sensor_id` to calibration, `passed` to a laboratory report,
    `measured_at` and `quantities` to a notice-board posting: when the posted results were measured. `refers_to` belongs to
    acknowledgements, which name a verdict by its id, and to corrections, which name a reading as
    `sensor_id/quantity/measured_at` or a publication by its hash.
    """

    kind: EntryKind
    at: Timestamp
    by: ShortText
    text: Annotated[str, Meta(max_length=2000)] = ""
    from_: Timestamp | None = msgspec.field(name="from", default=None)
    until: Timestamp | None = None
    sensor_id: Id | None = None
    passed: bool | None = None
    refers_to: ShortText | None = None
    measured_at: Timestamp | None = None
    quantities: Annotated[list[ShortText], Meta(max_length=20)] | None = None

    @property
    def at_ms(self) -> int:
        """`at` in milliseconds since the epoch; ContractError if it is no real date."""
        return parse_timestamp(self.at)


class LogbookMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Payload of `pools/{pool_id}/gateways/{gateway_id}/logbook`: the same envelope and the same seq."""

    schema: SchemaNumber
    gateway_id: Id
    boot_id: BootId
    seq: Seq
    entries: Annotated[list[LogbookEntry], Meta(min_length=1, max_length=100)]
