"""MQTT 3.1.1 on the wire, as far as many messages need it: PUBLISH packets, and PUBACKs in what is received. Pure."""

from collections.abc import Iterator

from gateway.contract.mqtt import encoded_length

_PUBLISH_QOS_1 = b"\x32"
_PUBACK = 0x40
#: A length is written seven bits a byte; a higher one means that more follow. It has four bytes at most.
_SEVEN_BITS = 0x7F
_MOST_BITS = 28


class WireError(Exception):
    """What the broker sent is no MQTT."""


def publish_head(topic: str) -> bytes:
    """The topic as each PUBLISH packet carries it."""
    name = topic.encode()
    return len(name).to_bytes(2, "big") + name


def publish_packet(head: bytes, packet_id: int, payload: bytes) -> bytes:
    """A PUBLISH packet at QoS 1, not retained, with a head from `publish_head` and a packet id of 1 to 65,535."""
    remaining = len(head) + 2 + len(payload)
    return b"".join((_PUBLISH_QOS_1, encoded_length(remaining), head, packet_id.to_bytes(2, "big"), payload))


class Acknowledgements:
    """Takes PUBACKs of some packet ids out of what is received, and passes everything else on.

    Parameters
    ----------
    first_packet_id : int
        PUBACKs of this id and above are taken; those below belong to somebody else.
    """

    def __init__(self, first_packet_id: int) -> None:
        self._first = first_packet_id
        self._rest = b""

    def take(self, received: bytes) -> tuple[bytes, list[int]]:
        """Bytes to pass on and packet ids that were acknowledged, in order; a packet cut short waits for its rest.

        Raises
        ------
        WireError
            If a packet's length cannot be one.
        """
        if self._rest:
            received = self._rest + received
        passed: list[bytes] = []
        acknowledged: list[int] = []
        end = 0
        for begin, end in self._packets(received):
            if received[begin] == _PUBACK and end - begin == 4:  # noqa: PLR2004 - type, length, two bytes of id
                packet_id = received[begin + 2] << 8 | received[begin + 3]
                if packet_id >= self._first:
                    acknowledged.append(packet_id)
                    continue
            passed.append(received[begin:end])
        self._rest = received[end:]
        return b"".join(passed), acknowledged

    @staticmethod
    def _packets(received: bytes) -> Iterator[tuple[int, int]]:
        """Begin and end of each whole packet."""
        begin, size = 0, len(received)
        while begin + 2 <= size:
            remaining = received[begin + 1]
            following = begin + 2
            if remaining > _SEVEN_BITS:
                remaining &= 0x7F
                shift = 7
                while True:
                    if shift >= _MOST_BITS:
                        raise WireError("a packet's length has more than four bytes")
                    if following == size:
                        return
                    byte = received[following]
                    following += 1
                    remaining |= (byte & _SEVEN_BITS) << shift
                    shift += 7
                    if byte <= _SEVEN_BITS:
                        break
            end = following + remaining
            if end > size:
                return
            yield begin, end
            begin = end
