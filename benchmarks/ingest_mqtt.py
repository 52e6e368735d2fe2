"""MQTT 3.1.1 on a plain socket, as fast as Python goes: the load must be there sooner than any consumer takes it."""

import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from gateway.contract.mqtt import encoded_length

_LOOPBACK = "127.0.0.1"
_CONNACK, _PUBLISH, _PUBACK, _SUBACK = 0x20, 0x30, 0x40, 0x90
_PUBLISH_QOS_1, _SUBSCRIBE, _DISCONNECT = 0x32, 0x82, b"\xe0\x00"
_MID_SPAN = 65535
_PUBACK_BYTES = 4
_READ_BYTES = 1 << 18
_ANSWER_WITHIN_S = 30.0
#: Packets that go to the kernel in one call.
_PACKETS_OF_SEND = 200


@dataclass(frozen=True, slots=True)
class Published:
    """A message that came from the broker."""

    topic: bytes
    payload: bytes


def publish_packet(topic: bytes, payload: bytes, mid: int) -> bytes:
    """A QoS 1 PUBLISH; `mid` is 1 to 65535."""
    size = len(topic) + len(payload) + 4
    return b"%c%b%c%c%b%c%c%b" % (
        *(_PUBLISH_QOS_1, encoded_length(size), len(topic) >> 8, len(topic) & 255),
        *(topic, mid >> 8, mid & 255, payload),
    )


def _text(text: str) -> bytes:
    content = text.encode()
    return len(content).to_bytes(2, "big") + content


class MqttConnection:
    """One connection of one user name, which is its client id too, as our broker has it.

    Raises
    ------
    ConnectionError
        If the broker refuses it or ends it.
    """

    def __init__(self, *, port: int, username: str, password: str, clean: bool = True) -> None:
        self._socket = socket.create_connection((_LOOPBACK, port), timeout=_ANSWER_WITHIN_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        flags = 0xC0 | (0x02 if clean else 0)
        body = _text("MQTT") + bytes([4, flags, 0, 0]) + _text(username) + _text(username) + _text(password)
        self._socket.sendall(b"\x10" + encoded_length(len(body)) + body)
        answer = self._answer(_CONNACK)
        if answer[1] != 0:
            self._socket.close()
            raise ConnectionError(f"the broker refuses {username!r} with code {answer[1]}")
        self._socket.setblocking(False)

    def subscribe(self, filters: Iterable[str]) -> None:
        """Subscribe at QoS 1 and wait for the broker's word."""
        body = b"\x00\x01" + b"".join(_text(name) + b"\x01" for name in filters)
        self.send(bytes([_SUBSCRIBE]) + encoded_length(len(body)) + body)
        self._socket.settimeout(_ANSWER_WITHIN_S)
        answer = self._answer(_SUBACK)
        self._socket.setblocking(False)
        if 0x80 in answer[2:]:
            raise ConnectionError("the broker refuses a subscription")

    def close(self) -> None:
        """Leave; a session that is not clean stays with the broker."""
        with suppress(OSError):  # the broker may have been faster
            self.send(_DISCONNECT)
        self._socket.close()

    def send(self, packets: bytes) -> None:
        """Hand bytes to the kernel, waiting for room."""
        view = memoryview(packets)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                select.select([], [self._socket], [], _ANSWER_WITHIN_S)

    def packets(self, *, wait_s: float) -> Iterator[tuple[int, bytes]]:
        """First byte and body of each packet that is there; waits up to `wait_s` for the first."""
        if not select.select([self._socket], [], [], wait_s)[0]:
            return
        fresh = self._socket.recv(_READ_BYTES)
        if not fresh:
            raise ConnectionError("the broker ended the connection")
        content = self._rest + fresh
        at = 0
        while (found := _packet(content, at)) is not None:
            first, start, at = found
            yield first, content[start:at]
        self._rest = content[at:]

    def receive(self, *, wait_s: float) -> tuple[list[int], list[Published]]:
        """Numbers that the broker acknowledged, and messages that came; those are acknowledged here and now."""
        acknowledged, came, answers = [], [], []
        for first, body in self.packets(wait_s=wait_s):
            if first & 0xF0 == _PUBACK:
                acknowledged.append(int.from_bytes(body[:2], "big"))
            elif first & 0xF0 == _PUBLISH:
                after = 2 + int.from_bytes(body[:2], "big")
                mid = b""
                if first & 0x06:
                    mid = body[after : after + 2]
                    answers.append(b"\x40\x02" + mid)
                came.append(Published(body[2:after], body[after + len(mid) :]))
        if answers:
            self.send(b"".join(answers))
        return acknowledged, came

    def flood(self, messages: Iterable[tuple[bytes, bytes]], *, window: int) -> int:
        """Publish all of (topic, payload), at most `window` of them unacknowledged; returns once all are acknowledged.

        Nothing may be subscribed to on this connection: only the acknowledgements' bytes are counted.
        """
        sent = acknowledged_bytes = 0
        chunk: list[bytes] = []
        for topic, payload in messages:
            chunk.append(publish_packet(topic, payload, sent % _MID_SPAN + 1))
            sent += 1
            if len(chunk) == _PACKETS_OF_SEND:
                self.send(b"".join(chunk))
                chunk.clear()
                while sent - acknowledged_bytes // _PUBACK_BYTES >= window:
                    acknowledged_bytes += self._count()
        self.send(b"".join(chunk))
        while acknowledged_bytes < sent * _PUBACK_BYTES:
            acknowledged_bytes += self._count()
        return sent

    def _count(self) -> int:
        if not select.select([self._socket], [], [], _ANSWER_WITHIN_S)[0]:
            raise ConnectionError(f"the broker acknowledged nothing for {_ANSWER_WITHIN_S:.0f} s")
        size = len(self._socket.recv(_READ_BYTES))
        if size == 0:
            raise ConnectionError("the broker ended the connection")
        return size

    def _answer(self, expected: int) -> bytes:
        deadline = time.monotonic() + _ANSWER_WITHIN_S
        while time.monotonic() < deadline:
            for first, body in self.packets(wait_s=1.0):
                if first & 0xF0 == expected:
                    return body
        raise ConnectionError(f"no answer from the broker within {_ANSWER_WITHIN_S:.0f} s")


def _packet(content: bytes, at: int) -> tuple[int, int, int] | None:
    """First byte, start of the body and end of the packet at `at`; None if it is not whole yet."""
    size = shift = 0
    start = at + 1
    while True:
        if start >= len(content):
            return None
        byte = content[start]
        size |= (byte & 0x7F) << shift
        shift += 7
        start += 1
        if byte < 0x80:
            break
    return (content[at], start, start + size) if start + size <= len(content) else None
