"""MQTT in: the only importer of paho in ingest. A message is acknowledged when ingest says so, not when it came.

Paho's network thread only puts messages into a bounded queue. When that is full the thread waits, and so does the broker.
"""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.contract.credentials import Credential
from gateway.contract.times import Clock
from gateway.contract.tls import tls_context
from gateway.contract.topics import LOGBOOK_FILTER, READINGS_FILTER, STATUS_FILTER, stored_topic

#: Fixed, so that the broker keeps the session, and what arrives meanwhile, for the next start.
CLIENT_ID = "poolwatch-ingest"
_FILTERS = (READINGS_FILTER, LOGBOOK_FILTER, STATUS_FILTER)
_QOS = 1
_KEEPALIVE_S = 30
_FIRST_RETRY_S, _LAST_RETRY_S = 1, 30
#: Above what a broker hands out without acknowledgements (`broker_config.MAX_INFLIGHT`), so that it stops before we do.
_QUEUE_MESSAGES = 4000
_LOOK_EVERY_S = 0.2
_LEAVE_WITHIN_S = 2.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came; `connection` counts the connections of this process, to one of which `mid` belongs."""

    topic: str
    payload: bytes
    received_at_ms: int
    mid: int
    qos: int
    retain: bool
    connection: int


class MqttSubscriber:
    """Ingest's connection to the broker: MQTT 3.1.1, persistent session, QoS 1, acknowledgement by hand."""

    def __init__(self, credential: Credential, *, clock: Clock) -> None:
        self._credential = credential
        self._clock = clock
        self._queue: queue.Queue[Incoming] = queue.Queue(_QUEUE_MESSAGES)
        self._closing = threading.Event()
        self._connected = threading.Event()
        self._ack_lock = threading.Lock()
        self._connection = 0
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=CLIENT_ID,
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
        )
        self._client.username_pw_set(credential.username, credential.password)
        context = tls_context(credential)
        if context is not None:
            self._client.tls_set_context(context)
        self._client.reconnect_delay_set(_FIRST_RETRY_S, _LAST_RETRY_S)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        return self._connected.is_set()

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        self._client.connect_async(self._credential.host, self._credential.port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    def take(self, max_messages: int, *, wait_s: float) -> list[Incoming]:
        """Messages that are there, at most `max_messages`; waits up to `wait_s` for the first."""
        taken: list[Incoming] = []
        try:
            taken.append(self._queue.get(timeout=wait_s))
            while len(taken) < max_messages:
                taken.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return taken

    def acknowledge(self, messages: Sequence[Incoming]) -> int:
        """Acknowledge messages to the broker; returns how many could still be.

        Those of an earlier connection are left out: their number may by now belong to another message. The broker
        sends them again.
        """
        acknowledged = 0
        with self._ack_lock:
            for message in messages:
                if message.qos > 0 and message.connection == self._connection and self.is_connected:
                    self._client.ack(message.mid, message.qos)
                    acknowledged += 1
        return acknowledged

    def publish_receipt(self, gateway_id: str, payload: bytes) -> bool:
        """Publish a receipt; False, and nothing is kept for later, if there is no connection now."""
        if not self.is_connected:
            return False
        sent = self._client.publish(stored_topic(gateway_id), payload, qos=_QOS, retain=False)
        return sent.rc is MQTTErrorCode.MQTT_ERR_SUCCESS

    def close(self) -> None:
        """Send what is on its way out and leave; the broker keeps the session."""
        deadline = time.monotonic() + _LEAVE_WITHIN_S
        while self.is_connected and self._client.want_write() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._closing.set()
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self,
        client: Client,
        _userdata: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            _log.error("the broker refuses ingest: see its credentials", reason=str(reason))
            return
        self._connected.set()
        client.subscribe([(name, _QOS) for name in _FILTERS])
        _log.info("connected to the broker", session_present=flags.session_present)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._ack_lock:
            self._connection += 1
            self._connected.clear()
        if not self._closing.is_set():
            _log.warning("connection to the broker lost; connecting again", reason=str(reason))

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: Any,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.error(
                "the broker refuses a subscription: see its access list", reasons=[str(r) for r in reasons]
            )

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        incoming = Incoming(
            topic=message.topic,
            payload=bytes(message.payload),
            received_at_ms=self._clock(),
            mid=message.mid,
            qos=message.qos,
            retain=message.retain,
            connection=self._connection,
        )
        while not self._closing.is_set():
            try:
                self._queue.put(incoming, timeout=_LOOK_EVERY_S)
            except queue.Full:
                continue
            return
