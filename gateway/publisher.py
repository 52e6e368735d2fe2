"""MQTT out: the gateway's only paho import. It connects in the background, for ever, and never raises into the loop."""

import contextlib
import queue
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway.contract.codec import decode_receipt
from gateway.contract.credentials import Credential
from gateway.contract.errors import MessageError
from gateway.contract.receipts import Receipt
from gateway.contract.topics import status_topic, stored_topic

_log = structlog.get_logger()

_KEEPALIVE_S = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting between connection attempts: doubled from `first_s` up to `most_s`, each stretched by chance by up to half."""

    first_s: float = 1.0
    most_s: float = 20.0


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
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._connected = threading.Event()
        self._wake: Callable[[], None] = lambda: None
        self._refusal_told = False
        self._last_will = b""
        self._client = self._make_client()

    def _make_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._gateway_id,
            clean_session=True,
            protocol=mqtt.MQTTv311,
        )
        client.username_pw_set(self._credential.username, self._credential.password)
        client.max_inflight_messages_set(0)  # the loop has its own window
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
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
        self._client.will_set(status_topic(self._gateway_id), self._last_will, qos=1, retain=True)
        stretch = random.uniform(1.0, 1.5)  # noqa: S311 - spreads reconnections, guards nothing
        self._client.reconnect_delay_set(self._backoff.first_s * stretch, self._backoff.most_s * stretch)  # type: ignore[arg-type] # paho waits fractions too
        self._client.connect_async(self._credential.host, self._credential.port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events: list[Event] = []
        while True:
            try:
                events.append(self._events.get_nowait())
            except queue.Empty:
                return events

    def publish(self, topic: str, payload: bytes) -> int | None:
        """Send at QoS 1; returns the packet id that `Acknowledged` will name, or None while there is no connection."""
        if not self.connected:
            return None
        sent = self._client.publish(topic, payload, qos=1)
        return sent.mid if sent.rc == mqtt.MQTT_ERR_SUCCESS else None

    def publish_status(self, payload: bytes) -> None:
        """Send the retained status, if there is a connection; it is said again each minute anyway."""
        if self.connected:
            self._client.publish(status_topic(self._gateway_id), payload, qos=1, retain=True)

    def disconnect_abruptly(self) -> None:
        """Drop the connection without a word, as a power cut does, so that the last will is sent; stay away."""
        open_socket: Any = self._client.socket()
        self._client.loop_stop()
        if open_socket is not None:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        # A new client: the old one closes its sockets as it goes, and forgets its unacknowledged packets.
        self._client = self._make_client()
        if self._connected.is_set():
            self._connected.clear()
            self._events.put(Disconnected())

    def reconnect(self) -> None:
        """Come back after `disconnect_abruptly`."""
        self._connect()

    def close(self, *, last_status: bytes | None) -> None:
        """Say the last status, disconnect in order, end the network thread."""
        if last_status is not None and self.connected:
            sent = self._client.publish(status_topic(self._gateway_id), last_status, qos=1, retain=True)
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                sent.wait_for_publish(2.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self,
        client: mqtt.Client,
        _userdata: Any,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Any,
    ) -> None:
        if reason.is_failure:
            if not self._refusal_told:
                self._refusal_told = True
                _log.error(
                    "broker refuses this gateway; see its table in credentials.toml, and that the broker knows it",
                    gateway_id=self._gateway_id,
                    host=self._credential.host,
                    port=self._credential.port,
                    reason=str(reason),
                )
            return
        self._refusal_told = False
        client.subscribe(stored_topic(self._gateway_id), qos=1)
        self._connected.set()
        self._put(Connected())

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: Any,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Any,
    ) -> None:
        if self._connected.is_set():
            self._connected.clear()
            if reason != ReasonCode(PacketTypes.DISCONNECT, "Normal disconnection"):
                _log.warning(
                    "connection to the broker lost; trying again",
                    gateway_id=self._gateway_id,
                    reason=str(reason),
                )
            self._put(Disconnected())

    def _on_publish(
        self, _client: mqtt.Client, _userdata: Any, packet_id: int, _reason: ReasonCode, _properties: Any
    ) -> None:
        self._put(Acknowledged(packet_id))

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            receipt = decode_receipt(bytes(message.payload))
        except MessageError as error:
            _log.error("a receipt that is none was ignored", gateway_id=self._gateway_id, reason=error.text)
            return
        self._put(receipt)

    def _put(self, event: Event) -> None:
        self._events.put(event)
        self._wake()
