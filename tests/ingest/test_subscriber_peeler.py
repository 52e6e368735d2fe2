import random
import socket
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.incoming import Incoming
from ingest.subscriber_peeler import Peeler, StreamError
from ingest.subscriber_socket import PeelingSocket

Cut = tuple[list[Incoming], list[tuple[int, int]], bytes]


class _EndError(Exception):
    """The stream ends before the packet does."""


class _Reader:
    """A stream that is read byte by byte, without any cleverness."""

    def __init__(self, stream: bytes) -> None:
        self.stream = stream
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.stream):
            raise _EndError
        self.at += count
        return self.stream[self.at - count : self.at]

    def number(self) -> int:
        number = 0
        for position in range(4):
            (low,) = self.take(1)
            number += (low % 128) << 7 * position
            if low < 128:
                return number
        raise StreamError


def _reference(stream: bytes, *, with_properties: bool) -> tuple[Cut, bool]:
    """What a stream holds, and whether it is malformed after that."""
    messages: list[Incoming] = []
    confirmed: list[tuple[int, int]] = []
    control = bytearray()
    reader = _Reader(stream)
    try:
        while True:
            start = reader.at
            (first,) = reader.take(1)
            body = _Reader(reader.take(reader.number()))
            try:
                if first >> 4 == 3:
                    messages.append(_publish(first, body, with_properties=with_properties))
                elif first == 0x40:
                    packet_id = int.from_bytes(body.take(2))
                    rest = body.stream[2:]
                    confirmed.append((packet_id, rest[0] if rest else 0))
                else:
                    control += stream[start : reader.at]
            except _EndError:
                raise StreamError from None
    except _EndError:
        return (messages, confirmed, bytes(control)), False
    except StreamError:
        return (messages, confirmed, bytes(control)), True


def _publish(first: int, body: _Reader, *, with_properties: bool) -> Incoming:
    qos = first >> 1 & 3
    if qos > 1:
        raise StreamError
    topic = body.take(int.from_bytes(body.take(2)))
    packet_id = int.from_bytes(body.take(2)) if qos else 0
    if qos and not packet_id:
        raise StreamError
    if with_properties:
        body.take(body.number())
    payload = body.stream[body.at :]
    return Incoming(topic.decode("utf-8", "replace"), payload, 7, packet_id, qos, bool(first & 1), 3)


def _peel(stream: bytes, cuts: list[int], *, with_properties: bool) -> tuple[Cut, bool]:
    peeler = Peeler(with_properties=with_properties, connection=3)
    failed = False
    places = sorted({0, len(stream), *cuts})
    try:
        for start, end in pairwise(places):
            peeler.feed(stream[start:end], received_at_ms=7)
    except StreamError:
        failed = True
    return (peeler.messages, peeler.confirmed, bytes(peeler.control)), failed


def _number(number: int) -> bytes:
    low, number = number % 128, number // 128
    return bytes([low | 128]) + _number(number) if number else bytes([low])


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _number(len(body)) + body


_SIZES = st.one_of(
    st.integers(0, 300),
    st.sampled_from([127, 128, 16_383, 16_384, 65_536, 131_072, 307_200]),
    st.integers(0, 307_200),
)
_TOPICS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40).map(str.encode),
    st.binary(max_size=20),
    st.just("pools/北池/gateways/gw-a/readings".encode()),
)


@st.composite
def _publishes(draw: st.DrawFn, *, with_properties: bool) -> bytes:
    qos = draw(st.integers(0, 1))
    topic = draw(_TOPICS)
    body = len(topic).to_bytes(2) + topic
    if qos:
        body += draw(st.integers(1, 65_535)).to_bytes(2)
    if with_properties:
        # A user property is all that needs many bytes.
        properties = b"\x26" + draw(st.integers(0, 400)) * b"p"
        properties = draw(st.sampled_from([b"", properties]))
        body += _number(len(properties)) + properties
    body += random.Random(draw(st.integers(0, 99))).randbytes(draw(_SIZES))
    return _packet(0x30 | qos << 1 | draw(st.sampled_from([0, 1, 8, 9])), body)


@st.composite
def _streams(draw: st.DrawFn, *, with_properties: bool) -> tuple[bytes, list[int]]:
    others = st.builds(
        _packet, st.sampled_from([0x20, 0x50, 0x90, 0xB0, 0xD0, 0xE0, 0x41]), st.binary(max_size=200)
    )
    confirmations = st.builds(
        lambda packet_id, rest: _packet(0x40, packet_id.to_bytes(2) + rest),
        st.integers(0, 65_535),
        st.sampled_from([b"", b"\x10", b"\x87\x00"]),
    )
    packets = st.one_of(_publishes(with_properties=with_properties), confirmations, others)
    stream = b"".join(draw(st.lists(packets, max_size=8)))
    return stream, draw(st.lists(st.integers(0, len(stream)), max_size=30))


@given(with_properties=st.booleans(), draws=st.data())
@settings(max_examples=300, deadline=None)
def test_a_stream_gives_what_a_plain_parser_reads_however_it_is_cut(
    *, with_properties: bool, draws: st.DataObject
) -> None:
    stream, cuts = draws.draw(_streams(with_properties=with_properties))
    expected, malformed = _reference(stream, with_properties=with_properties)
    assert not malformed
    assert _peel(stream, cuts, with_properties=with_properties) == (expected, False)


@given(with_properties=st.booleans(), draws=st.data())
@settings(max_examples=400, deadline=None)
def test_a_damaged_stream_gives_what_a_plain_parser_reads_or_a_stream_error(
    *, with_properties: bool, draws: st.DataObject
) -> None:
    stream, cuts = draws.draw(_streams(with_properties=with_properties))
    damaged = bytearray(stream[:4000] + draws.draw(st.binary(max_size=60)))
    for place, value in draws.draw(
        st.lists(st.tuples(st.integers(0, max(0, len(damaged) - 1)), st.integers(0, 255)), max_size=6)
    ):
        damaged[place : place + 1] = bytes([value])
    expected, malformed = _reference(bytes(damaged), with_properties=with_properties)
    assert _peel(bytes(damaged), cuts, with_properties=with_properties) == (expected, malformed)


@given(with_properties=st.booleans(), noise=st.binary(max_size=400))
@settings(max_examples=500, deadline=None)
def test_noise_byte_by_byte_ends_as_for_a_plain_parser(*, with_properties: bool, noise: bytes) -> None:
    every = list(range(len(noise)))
    expected = _reference(noise, with_properties=with_properties)
    assert _peel(noise, every, with_properties=with_properties) == expected


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (b"\x32\x80\x80\x80\x80\x01", "more than four bytes"),
        (_packet(0x34, b"\x00\x01t\x00\x01"), "QoS 2"),
        (_packet(0x36, b"\x00\x01t\x00\x01"), "QoS 2"),
        (_packet(0x32, b"\x00\x01t\x00\x00\x00"), "without a packet id"),
        (_packet(0x32, b""), "without a packet id"),
        (_packet(0x30, b"\x00\x09t"), "before its payload"),
        (_packet(0x30, b"\x00\x01t\x05p"), "before its payload"),
        (_packet(0x40, b"\x01"), "acknowledgement without a packet id"),
    ],
)
def test_what_is_no_mqtt_ends_the_connection_and_keeps_what_came_before(stream: bytes, says: str) -> None:
    good = _packet(0x30, b"\x00\x01t\x00before")
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        peeling = PeelingSocket(ours, Peeler(with_properties=True, connection=0), lambda: 7)
        theirs.sendall(good + stream)
        assert peeling.fill() == 0
        assert peeling.has_ended
        assert [one.payload for one in peeling.take_messages()] == [b"before"]
        # The client is told in the way in which it is told of a broken network.
        with pytest.raises(ConnectionError, match=says):
            peeling.recv(1)
        assert peeling.fill() == 0
        peeling.close()


def test_a_long_message_in_many_pieces_is_joined_once() -> None:
    payload = bytes(300 * 1024)
    stream = _packet(0x30, b"\x00\x01t" + payload)
    peeler = Peeler(with_properties=False, connection=0)
    for at in range(0, len(stream), 10):
        peeler.feed(stream[at : at + 10], received_at_ms=7)
    assert [one.payload for one in peeler.messages] == [payload]


def test_more_topics_than_are_remembered_stay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.subscriber_peeler._TOPICS", 3)
    names = [f"t{number % 7}" for number in range(50)]
    peeler = Peeler(with_properties=False, connection=0)
    peeler.feed(b"".join(_packet(0x30, b"\x00\x02" + name.encode()) for name in names), received_at_ms=7)
    assert [one.topic for one in peeler.messages] == names
