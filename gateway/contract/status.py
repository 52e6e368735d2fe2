"""What a gateway says of itself: retained, with a last will, again each minute."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.contract.readings import BootId, Seq, ShortText, Timestamp


class GatewayState(StrEnum):
    """Whether the gateway is connected to the broker; `offline` is also its last will."""

    ONLINE = "online"
    OFFLINE = "offline"


class DroppedSpan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Readings that a gateway had to give up: never silent, always counted."""

    from_: Timestamp = msgspec.field(name="from")
    to: Timestamp
    readings: Annotated[int, Meta(ge=0)]


class GatewayStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Payload of `gateways/{gateway_id}/status`. It is how a lost tail shows, or a boot that never arrived.

    `outbox` lists what is still kept: (boot_id, first seq, next seq).
    """

    state: GatewayState
    boot_id: BootId
    since: Timestamp
    version: ShortText = ""
    next_seq: Seq = 0
    outbox: list[tuple[BootId, Seq, Seq]] = []
    dropped: list[DroppedSpan] = []
    hours_left: float | None = None
