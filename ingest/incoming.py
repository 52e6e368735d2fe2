"""A message as the broker handed it over."""

import msgspec


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A message as it came.

    `received_at_ms` is when it was read off the network. `packet_id` belongs to one `connection` of this process (they are
    counted from 0): only on that one can it be acknowledged. `qos` 0 needs no acknowledgement.
    """

    topic: str
    payload: bytes
    received_at_ms: int
    packet_id: int = 0
    qos: int = 1
    retain: bool = False
    connection: int = 0
