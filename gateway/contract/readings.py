"""One value at one time, and the message that carries many of them."""

import re
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.contract.quantities import Quantity
from gateway.contract.times import TIMESTAMP_PATTERN, parse_timestamp

# `$` alone would let a newline at the end through.
ID_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$(?!\n)"
ID_RULE = "an id has lower-case letters, digits and hyphens, at most 63, no hyphen first"
_ID = re.compile(ID_PATTERN)

Id = Annotated[str, Meta(pattern=ID_PATTERN, description="a lower-case name: letters, digits, hyphens")]
BOOT_ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$(?!\n)"
BootId = Annotated[str, Meta(pattern=BOOT_ID_PATTERN, description="new at every gateway start")]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1, description="counts messages within a boot from 0, no holes")]
Timestamp = Annotated[
    str, Meta(pattern=TIMESTAMP_PATTERN, description="RFC 3339, UTC, Z, three decimals or none")
]
#: Version of the contract; another one is refused.
SchemaNumber = Annotated[int, Meta(ge=1, le=1)]
ShortText = Annotated[str, Meta(max_length=200)]

#: The sensor that every pool has without its being registered: tests by hand, of any quantity.
MANUAL_SENSOR = "manual"


class ReadingStatus(StrEnum):
    """How a reading came about. The first three count as results; their value is never null."""

    NORMAL = "normal"
    MANUAL = "manual"
    LABORATORY = "laboratory"
    MAINTENANCE = "maintenance"
    CALIBRATION = "calibration"
    FAULT = "fault"
    OVER_RANGE = "over_range"
    NO_COMMUNICATION = "no_communication"
    STOPPED = "stopped"


RESULT_STATUSES = (ReadingStatus.NORMAL, ReadingStatus.MANUAL, ReadingStatus.LABORATORY)


def is_id(text: str) -> bool:
    """Whether a text has the form of an id: of a pool, a sensor, a gateway."""
    return _ID.match(text) is not None


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One value of one sensor at the sensor's own time."""

    sensor_id: Id
    quantity: Quantity
    measured_at: Timestamp
    value: float | None
    status: ReadingStatus = ReadingStatus.NORMAL
    by: ShortText | None = None
    method: ShortText | None = None

    @property
    def measured_at_ms(self) -> int:
        """`measured_at` in milliseconds since the epoch; ContractError if it is no real date."""
        return parse_timestamp(self.measured_at)


class ReadingsMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Payload of `pools/{pool_id}/gateways/{gateway_id}/readings`."""

    schema: SchemaNumber
    gateway_id: Id
    boot_id: BootId
    seq: Seq
    readings: Annotated[list[Reading], Meta(min_length=1, max_length=500)]
