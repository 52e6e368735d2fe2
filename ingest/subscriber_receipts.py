"""Receipts on their way: published with QoS 1, few at a time, sent again until the broker has confirmed them. Pure."""

import struct

from gateway.contract.mqtt import encoded_length

_PUBLISH_QOS_1 = 0x32
#: Without a reason code, which is success, a PUBACK has four bytes: 40 02 and the packet id.
_PUBACK = 0x4002_0000
_DUP = 0x08
#: More would mean that the broker does not answer; receipts are due again a second later anyway.
MAX_UNCONFIRMED = 5000
#: The client numbers its own few packets from 1.
_FIRST_ID, _LAST_ID = 1001, 65_535


class ReceiptWindow:
    """Receipts that the broker has not confirmed. They outlive a connection."""

    def __init__(self) -> None:
        self._unconfirmed: dict[int, tuple[str, bytes]] = {}
        self._last_id = _LAST_ID

    def __len__(self) -> int:
        return len(self._unconfirmed)

    def add(self, topic: str, payload: bytes, *, with_properties: bool, at_most: int) -> bytes | None:
        """Packet that publishes a receipt; None, and nothing is kept, while `at_most` are unconfirmed."""
        if len(self._unconfirmed) >= min(at_most, MAX_UNCONFIRMED):
            return None
        packet_id = self._last_id
        while True:
            packet_id = packet_id + 1 if packet_id < _LAST_ID else _FIRST_ID
            if packet_id not in self._unconfirmed:
                break
        self._last_id = packet_id
        self._unconfirmed[packet_id] = (topic, payload)
        return _publish(topic, payload, packet_id, with_properties=with_properties)

    def confirm(self, packet_id: int) -> str | None:
        """Topic of the receipt that the broker has confirmed, or refused; None if there is no such receipt."""
        confirmed = self._unconfirmed.pop(packet_id, None)
        return None if confirmed is None else confirmed[0]

    def again(self, *, with_properties: bool, at_most: int) -> bytes:
        """Packets, for a new connection, of what is unconfirmed; beyond `at_most` the oldest are given up.

        A gateway without its receipt sends its message again and gets another one.
        """
        for packet_id in list(self._unconfirmed)[: max(0, len(self._unconfirmed) - at_most)]:
            del self._unconfirmed[packet_id]
        return b"".join(
            _publish(topic, payload, packet_id, with_properties=with_properties, first=_PUBLISH_QOS_1 | _DUP)
            for packet_id, (topic, payload) in self._unconfirmed.items()
        )


def acknowledgements(packet_ids: list[int]) -> bytes:
    """PUBACKs, of either version of MQTT, joined."""
    return struct.pack(f">{len(packet_ids)}I", *[_PUBACK | packet_id for packet_id in packet_ids])


def _publish(
    topic: str, payload: bytes, packet_id: int, *, with_properties: bool, first: int = _PUBLISH_QOS_1
) -> bytes:
    name = topic.encode()
    properties = b"\x00" if with_properties else b""
    body = b"".join((len(name).to_bytes(2), name, packet_id.to_bytes(2), properties, payload))
    return b"".join((bytes((first,)), encoded_length(len(body)), body))
