"""Takes messages straight off the bytes that a broker sends; what is no message stays for the MQTT client. Pure.

A client that reads packet by packet spends some 50 microseconds on each. Nearly all that a broker sends to ingest is
PUBLISH, whose layout is fixed, so those are cut out of whole chunks here.
"""

from ingest.incoming import Incoming

_PUBLISH_QOS_0 = 0x30
_PUBLISH_QOS_1 = 0x32
_PUBACK = 0x40
#: A packet's first byte without DUP and RETAIN.
_KIND_AND_QOS = 0xF6
_KIND = 0xF0
_RETAIN = 0x01
#: In a byte of a length: more bytes follow.
_MORE = 0x80
_LENGTH_BYTES = 4
#: Topics whose text is kept; a city has some thousands.
_TOPICS = 20_000


class StreamError(ConnectionError):
    """The broker sent what MQTT does not allow; the connection can only be ended."""


class Peeler:
    """Cuts a stream of MQTT packets, fed in pieces of any size.

    Parameters
    ----------
    with_properties : bool
        Whether packets have MQTT 5's properties.
    connection : int
        Number of the connection, for `Incoming.connection`.

    Attributes
    ----------
    messages : list of Incoming
        Messages in their order. The owner takes them away.
    confirmed : list of (packet id, reason code)
        PUBACKs of what this side published.
    control : bytearray
        All other packets, whole and unchanged.
    """

    def __init__(self, *, with_properties: bool, connection: int) -> None:
        self.messages: list[Incoming] = []
        self.confirmed: list[tuple[int, int]] = []
        self.control = bytearray()
        self._with_properties = with_properties
        self._connection = connection
        self._topics: dict[bytes, str] = {}
        # The beginning of a packet, in pieces, so that a long one is joined once and not at each piece.
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = 0

    def feed(self, chunk: bytes, *, received_at_ms: int) -> None:
        """Cut what came; `received_at_ms` is noted with its messages.

        Raises
        ------
        StreamError
            If it is no MQTT. Messages before that place have been cut.
        """
        self._pieces.append(chunk)
        self._held += len(chunk)
        if self._held < self._needed:
            return
        joined = chunk if len(self._pieces) == 1 else b"".join(self._pieces)
        rest = joined[self._cut(joined, received_at_ms) :]
        self._pieces = [rest] if rest else []
        self._held = len(rest)

    def _cut(self, stream: bytes, received_at_ms: int) -> int:  # noqa: C901, PLR0912 - each call would cost as much as its work
        """Cut whole packets; returns where the first that is not whole begins."""
        at, end = 0, len(stream)
        self._needed = 0
        with_properties, connection, topics = self._with_properties, self._connection, self._topics
        append = self.messages.append
        while end - at > 1:
            first, length, body = stream[at], stream[at + 1], at + 2
            if length >= _MORE and end - at > 2 and stream[at + 2] < _MORE:  # noqa: PLR2004 - nearly all have two bytes of length
                length, body = length & ~_MORE | stream[at + 2] << 7, at + 3
            elif length >= _MORE:
                header = _number(stream, at + 1, end)
                if header is None:
                    break
                length, body = header
            after = body + length
            if after > end:
                self._needed = after - at
                break
            kind = first & _KIND_AND_QOS
            if kind == _PUBLISH_QOS_1 or kind == _PUBLISH_QOS_0:  # noqa: PLR1714, SIM109 - half the time of `in`
                start = topic_end = (
                    body + 2 + (stream[body] << 8 | stream[body + 1]) if length > 1 else end + 1
                )
                packet_id = 0
                if kind == _PUBLISH_QOS_1:
                    start += 2
                    packet_id = stream[start - 2] << 8 | stream[start - 1] if start <= after else 0
                    if not packet_id:
                        raise StreamError("the broker sent a message without a packet id")
                if with_properties:
                    start = _after_properties(stream, start, after)
                if start > after:
                    raise StreamError("the broker sent a message that ends before its payload")
                name = stream[body + 2 : topic_end]
                topic = topics.get(name)
                if topic is None:
                    topic = self._remember(name)
                append(
                    Incoming(
                        topic,
                        stream[start:after],
                        received_at_ms,
                        packet_id,
                        1 if packet_id else 0,
                        first & _RETAIN == 1,
                        connection,
                    )
                )
            elif first & _KIND == _PUBLISH_QOS_0:
                raise StreamError("the broker sent a message of QoS 2, for which ingest has not asked")
            elif first == _PUBACK:
                self.confirmed.append(_confirmation(stream[body:after]))
            else:
                self.control += stream[at:after]
            at = after
        return at

    def _remember(self, name: bytes) -> str:
        if len(self._topics) >= _TOPICS:
            self._topics.clear()
        # A topic that is no text is none of the contract's: quarantine names it.
        topic = self._topics[name] = name.decode("utf-8", "replace")
        return topic


def _number(stream: bytes, at: int, end: int) -> tuple[int, int] | None:
    """MQTT's number of variable length and where it ends; None if it goes on after `end`."""
    number = 0
    for position in range(at, min(end, at + _LENGTH_BYTES)):
        number |= (stream[position] & ~_MORE) << 7 * (position - at)
        if stream[position] < _MORE:
            return number, position + 1
    if end - at >= _LENGTH_BYTES:
        raise StreamError("the broker sent a length of more than four bytes")
    return None


def _after_properties(stream: bytes, at: int, after: int) -> int:
    """Where a payload begins whose properties begin at `at`; beyond `after` if they do."""
    if at < after and stream[at] < _MORE:
        return at + 1 + stream[at]
    header = _number(stream, at, after) if at < after else None
    return after + 1 if header is None else sum(header)


def _confirmation(body: bytes) -> tuple[int, int]:
    """Packet id and reason code of a PUBACK; a reason that is not there is success."""
    if len(body) < 2:  # noqa: PLR2004 - a packet id has two bytes
        raise StreamError("the broker sent an acknowledgement without a packet id")
    return body[0] << 8 | body[1], body[2] if len(body) > 2 else 0  # noqa: PLR2004 - as above
