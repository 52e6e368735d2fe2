"""MQTT out: it connects in the background, for ever, and never raises into the loop."""

import contextlib
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from gateway.contract.codec import decode_receipt
from gateway.contract.credentials import Credential
from gateway.contract.errors import MessageError
from gateway.contract.receipts import Receipt
from gateway.contract.tls import tls_context
from gateway.contract.topics import status_topic, stored_topic
from gateway.publisher_client import BulkClient

_log = structlog.get_logger()

_KEEPALIVE_S = 30
_CONNECT_TIMEOUT_S = 3.0
#: A connection that lasted less counts as one more failed attempt: two gateways of one name throw each other out.
_STABLE_S = 5.0
#: How long an orderly goodbye may take before the socket is closed under it.
_GOODBYE_S = 2.0
#: Packets of a batch are handed over in pieces of about this size. [byte]
_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting between connection attempts: doubled from `first_s` up to `most_s`, shortened by chance by up to half.

    The chance keeps a city's gateways from coming back in step after the broker was away.
    """

    first_s: float = 1.0
    most_s: float = 30.0

    def wait_s(self, attempt: int, *, chance: float) -> float:
        """How long to wait before attempt 0, 1, 2 … `chance` is uniform in [0, 1). [s]"""
        longest = min(self.most_s, self.first_s * 2.0 ** min(attempt, 30))
        return max(min(self.first_s, longest), longest * (1.0 - chance / 2.0))


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker took the connection."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker took the message with this packet id."""

    packet_id: int


Event = Connected | Disconnected | Acknowledged | Receipt


class Publisher:
    """One gateway's connection to the broker.

    paho's own thread does the network; what happens there is put on a queue, which the gateway's loop drains, so that
    the outbox is used by one thread only.
    """

    def __init__(self, *, gateway_id: str, credential: Credential, backoff: Backoff | None = None) -> None:
        self._gateway_id = gateway_id
        self._credential = credential
        self._backoff = backoff or Backoff()
        #: PUBACKs come many at a time: as lists of packet ids.
        self._events: queue.SimpleQueue[Event | list[int]] = queue.SimpleQueue()
        #: Packets that wait for the end of their batch, and their size; None outside of one.
        self._batch: list[bytes] | None = None
        self._batch_bytes = 0
        self._connected = threading.Event()
        self._gone = threading.Event()
        self._wake: Callable[[], None] = lambda: None
        self._last_will = b""
        self._attempt = 0
        self._accepted_at_s = 0.0
        self._told = ""
        self._client = self._make_client()

    def _make_client(self) -> BulkClient:
        client = BulkClient(
            CallbackAPIVersion.VERSION2,
            client_id=self._gateway_id,
            clean_session=True,
            protocol=mqtt.MQTTv311,
            on_acknowledged=self._put,
        )
        client.username_pw_set(self._credential.username, self._credential.password)
        context = tls_context(self._credential)
        if context is not None:
            client.tls_set_context(context)
        client.max_inflight_messages_set(0)  # of paho's own messages, which are the status
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    @property
    def connected(self) -> bool:
        """Whether the broker has taken the connection."""
        return self._connected.is_set()

    def start(self, *, last_will: bytes, wake: Callable[[], None]) -> None:
        """Connect in the background; `wake` is called, on another thread, whenever there are events."""
        self._wake = wake
        self._last_will = last_will
        self._connect()

    def _connect(self) -> None:
        self._attempt = 0
        self._gone.clear()
        self._client.will_set(status_topic(self._gateway_id), self._last_will, qos=1, retain=True)
        self._wait_before_next_attempt(self._client)
        self._client.connect_async(self._credential.host, self._credential.port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events: list[Event] = []
        while True:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return events
            if isinstance(event, list):
                events += map(Acknowledged, event)
            else:
                events.append(event)

    def publish(self, topic: str, payload: bytes) -> int | None:
        """Send at QoS 1, and only on this connection.

        Returns
        -------
        int or None
            The packet id that `Acknowledged` will name. None while there is no connection, or while 64,512 messages are
            unacknowledged. What is not acknowledged before `Disconnected` is to be published again.
        """
        if not self.connected:
            return None
        made = self._client.packet_of(topic, payload)
        if made is None:
            return None
        packet_id, packet = made
        if self._batch is None:
            self._client.queue_packets(packet)
            return packet_id
        self._batch.append(packet)
        self._batch_bytes += len(packet)
        if self._batch_bytes >= _PIECE:
            self._hand_over()
        return packet_id

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hand what is published within over together: that takes a fraction of the work."""
        self._batch = []
        try:
            yield
        finally:
            self._hand_over()
            self._batch = None

    def _hand_over(self) -> None:
        if self._batch and self.connected:
            self._client.queue_packets(b"".join(self._batch))
        self._batch = []
        self._batch_bytes = 0

    def publish_status(self, payload: bytes) -> None:
        """Send the retained status, if there is a connection; it is said again each minute anyway."""
        if self.connected:
            self._client.publish(status_topic(self._gateway_id), payload, qos=1, retain=True)

    def disconnect_abruptly(self) -> None:
        """Drop the connection without a word, as a power cut does, so that the last will is sent; stay away."""
        self._shut_socket()
        self._client.disconnect()  # the socket is shut: this says goodbye to nobody, and ends paho's thread
        self._client.loop_stop()
        # A new client: the old one closes its sockets as it goes, and forgets its unacknowledged packets.
        self._client = self._make_client()
        if self._connected.is_set():
            self._connected.clear()
            self._put(Disconnected())

    def reconnect(self) -> None:
        """Come back after `disconnect_abruptly`."""
        self._connect()

    def close(self, *, last_status: bytes | None) -> None:
        """Say the last status, disconnect in order, end the network thread; a broker that hangs is not waited for."""
        if last_status is not None and self.connected:
            sent = self._client.publish(status_topic(self._gateway_id), last_status, qos=1, retain=True)
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                sent.wait_for_publish(_GOODBYE_S)
        was_connected = self.connected
        self._client.disconnect()
        if was_connected and not self._gone.wait(_GOODBYE_S):
            self._shut_socket()
        self._client.loop_stop()

    def _shut_socket(self) -> None:
        open_socket: Any = self._client.socket()
        if open_socket is not None:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)

    def _wait_before_next_attempt(self, client: mqtt.Client) -> None:
        """Set what paho waits before it tries again; it takes the same two numbers only once."""
        chance = random.random()  # noqa: S311 - spreads reconnections, guards nothing
        wait_s: Any = self._backoff.wait_s(
            self._attempt, chance=chance
        )  # paho says int and waits fractions too
        client.reconnect_delay_set(wait_s, wait_s)
        self._attempt += 1

    def _tell_once(self, text: str, reason: str) -> None:
        """Log a trouble when it begins, not at each of its attempts."""
        if self._told != text:
            self._told = text
            _log.warning(
                text,
                gateway_id=self._gateway_id,
                host=self._credential.host,
                port=self._credential.port,
                reason=reason,
            )

    def _on_connect(
        self,
        client: mqtt.Client,
        _userdata: Any,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Any,
    ) -> None:
        if reason.is_failure:
            self._tell_once(
                "the broker refuses this gateway; see its table in credentials.toml, and that the broker knows it",
                str(reason),
            )
            return
        self._told = ""
        self._accepted_at_s = time.monotonic()
        client.subscribe(stored_topic(self._gateway_id), qos=1)
        self._gone.clear()
        self._connected.set()
        self._put(Connected())

    def _on_connect_fail(self, client: mqtt.Client, _userdata: Any) -> None:
        self._tell_once("the broker cannot be reached; trying on, readings are kept", "no connection")
        self._wait_before_next_attempt(client)

    def _on_disconnect(
        self,
        client: mqtt.Client,
        _userdata: Any,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Any,
    ) -> None:
        if self._connected.is_set():
            self._connected.clear()
            if time.monotonic() - self._accepted_at_s >= _STABLE_S:
                self._attempt = 0
            if reason.is_failure:
                self._tell_once(
                    "the connection to the broker is lost; trying on, readings are kept", str(reason)
                )
            self._put(Disconnected())
        self._wait_before_next_attempt(client)
        self._gone.set()

    def _on_subscribe(
        self, _client: mqtt.Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._tell_once(
                "the broker lets this gateway read no receipts: nothing will leave its outbox; allow it "
                f"{stored_topic(self._gateway_id)}",
                ", ".join(map(str, reasons)),
            )

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            receipt = decode_receipt(bytes(message.payload))
        except MessageError as error:
            _log.error("a receipt that is none was ignored", gateway_id=self._gateway_id, reason=error.text)
            return
        self._put(receipt)

    def _put(self, event: Event | list[int]) -> None:
        self._events.put(event)
        self._wake()
