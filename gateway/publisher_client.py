"""paho's client with a faster way for messages: packets are joined before they are queued, PUBACKs read in bulk.

paho itself takes a system call for each byte of a header and keeps an object for each message. Here it does what it is
good at (connecting, subscribing, keeping alive, receipts, the status), and messages pass beside that.
"""

import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt

from gateway.contract.tls import shake_hands
from gateway.publisher_wire import Acknowledgements, WireError, publish_head, publish_packet

#: Packet ids below belong to paho (subscriptions, the status); messages have all others.
FIRST_PACKET_ID = 1024
_LAST_PACKET_ID = 65_535
#: How much is read at once. [byte]
_CHUNK = 65_536
_HEADS_MOST = 1000

_PUBLISH = 0x30


class BulkClient(mqtt.Client):
    """A client that publishes many messages at QoS 1.

    Parameters
    ----------
    on_acknowledged : callable
        Called on paho's thread with the packet ids that the broker acknowledged.
    options
        As of paho's client.
    """

    def __init__(self, *args: Any, on_acknowledged: Callable[[list[int]], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._on_acknowledged = on_acknowledged
        self._own_lock = threading.Lock()
        self._in_flight: set[int] = set()
        self._last_packet_id = FIRST_PACKET_ID - 1
        self._heads: dict[str, bytes] = {}

    def packet_of(self, topic: str, payload: bytes) -> tuple[int, bytes] | None:
        """Packet id and packet of a message; None if 64,512 are unacknowledged: there are no more ids."""
        head = self._heads.get(topic)
        if head is None:
            if len(self._heads) >= _HEADS_MOST:
                self._heads.clear()
            head = self._heads[topic] = publish_head(topic)
        with self._own_lock:
            if len(self._in_flight) > _LAST_PACKET_ID - FIRST_PACKET_ID:
                return None
            packet_id = self._last_packet_id
            while True:
                packet_id = packet_id + 1 if packet_id < _LAST_PACKET_ID else FIRST_PACKET_ID
                if packet_id not in self._in_flight:
                    break
            self._last_packet_id = packet_id
            self._in_flight.add(packet_id)
        return packet_id, publish_packet(head, packet_id, payload)

    def queue_packets(self, packets: bytes) -> None:
        """Let paho's thread write whole PUBLISH packets."""
        self._packet_queue(_PUBLISH, packets, 0, 1)

    def _mid_generate(self) -> int:
        """Packet id of a packet of paho's own, below those of messages."""
        with self._mid_generate_mutex:
            self._last_mid = self._last_mid % (FIRST_PACKET_ID - 1) + 1
            return self._last_mid

    def _create_socket(self) -> Any:
        with self._own_lock:
            self._in_flight.clear()  # a new connection, of a clean session: nothing is under way on it
        return _BulkSocket(super()._create_socket(), self._take_acknowledged)

    def _ssl_wrap_socket(self, tcp_sock: Any) -> Any:
        # paho's own leaves the socket open, for the garbage collection to find, when the handshake fails.
        context = self._ssl_context
        if context is None:
            raise RuntimeError("TLS is asked for without settings: give them by `tls_set_context`")
        return shake_hands(context, tcp_sock, host=self._host, within_s=self._connect_timeout)

    def _take_acknowledged(self, packet_ids: list[int]) -> None:
        with self._own_lock:
            self._in_flight.difference_update(packet_ids)
        self._on_acknowledged(packet_ids)


class _BulkSocket:
    """A socket that is read in large pieces, and keeps the PUBACKs of messages from paho."""

    def __init__(self, inner: Any, on_acknowledged: Callable[[list[int]], None]) -> None:
        self._inner = inner
        self._on_acknowledged = on_acknowledged
        self._acknowledgements = Acknowledgements(FIRST_PACKET_ID)
        self._passed = b""
        self._place = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def pending(self) -> int:
        """Bytes that can be had without waiting: paho asks before it waits for the socket."""
        inner = self._inner.pending() if hasattr(self._inner, "pending") else 0
        return len(self._passed) - self._place + int(inner)

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes that are for paho; BlockingIOError if there are none now, nothing at the end."""
        if self._place == len(self._passed):
            received = self._inner.recv(_CHUNK)
            if not received:
                return b""
            try:
                self._passed, acknowledged = self._acknowledgements.take(received)
            except WireError as error:
                raise ConnectionAbortedError(str(error)) from error
            self._place = 0
            if acknowledged:
                self._on_acknowledged(acknowledged)
            if not self._passed:
                raise BlockingIOError
        piece = self._passed[self._place : self._place + size]
        self._place += len(piece)
        return piece
