"""A gateway's connection that a test drives message by message, and that listens to receipts."""

import json
from collections.abc import Iterable
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.contract.codec import decode_receipt
from gateway.contract.times import format_timestamp
from gateway.contract.topics import logbook_topic, readings_topic, status_topic, stored_topic
from poolwatch.clock import system_clock_ms
from tests.integration.fault_bench import Bench, pool_of, until

_QUANTITY = "free_chlorine_mg_l"
#: paho forgets what it cannot number: at most so many wait for the broker.
_UNDER_WAY = 20_000


def reading(measured_at_ms: int, value: float, *, sensor_id: str = "fc-1") -> dict[str, Any]:
    """A reading as it goes over the wire."""
    at = format_timestamp(measured_at_ms)
    return {"sensor_id": sensor_id, "quantity": _QUANTITY, "measured_at": at, "value": value}


class Postman:
    """One gateway's connection, driven message by message, which listens to receipts."""

    def __init__(self, bench: Bench, gateway_id: str, boot_id: str) -> None:
        self.gateway_id, self.boot_id = gateway_id, boot_id
        self.receipted: set[int] = set()
        self.taken = self._given = 0
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=gateway_id, protocol=MQTTProtocolVersion.MQTTv311
        )
        credential = bench.credential(gateway_id)
        self._client.username_pw_set(credential.username, credential.password)
        self._client.max_inflight_messages_set(1000)
        self._client.reconnect_delay_set(1, 1)
        subscribed: list[int] = []
        self._client.on_connect = lambda client, *_: client.subscribe(stored_topic(gateway_id), qos=1)
        self._client.on_subscribe = lambda *_: subscribed.append(1)
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.connect(credential.host, credential.port)
        self._client.loop_start()
        until(lambda: bool(subscribed), f"{gateway_id} listens to receipts")

    def _on_publish(self, *_: Any) -> None:
        self.taken += 1

    def _on_message(self, _client: Any, _userdata: Any, message: Any) -> None:
        receipt = decode_receipt(bytes(message.payload))
        if receipt.boot_id == self.boot_id:
            for first, last in receipt.stored:
                self.receipted.update(range(first, last + 1))

    def _send(self, topic: str, body: dict[str, Any], *, retain: bool = False) -> None:
        until(lambda: self._given - self.taken < _UNDER_WAY, "the broker takes messages")
        self._given += 1
        self._client.publish(topic, json.dumps(body).encode(), qos=1, retain=retain)

    def send(self, seq: int, *readings: dict[str, Any]) -> None:
        """Send a message of readings."""
        topic = readings_topic(pool_id=pool_of(self.gateway_id), gateway_id=self.gateway_id)
        self._send(topic, self._envelope(seq) | {"readings": list(readings)})

    def send_entry(self, seq: int, at_ms: int, text: str) -> None:
        """Send a message with one note for the logbook."""
        topic = logbook_topic(pool_id=pool_of(self.gateway_id), gateway_id=self.gateway_id)
        entry = {"kind": "reopening", "at": format_timestamp(at_ms), "by": "a guard", "text": text}
        self._send(topic, self._envelope(seq) | {"entries": [entry]})

    def say(self, *, next_seq: int, state: str = "online") -> None:
        """Send the retained status."""
        body = {
            "state": state,
            "boot_id": self.boot_id,
            "since": format_timestamp(system_clock_ms()),
            "next_seq": next_seq,
        }
        self._send(status_topic(self.gateway_id), body, retain=True)

    def _envelope(self, seq: int) -> dict[str, Any]:
        return {"schema": 1, "gateway_id": self.gateway_id, "boot_id": self.boot_id, "seq": seq}

    def until_taken(self) -> None:
        """Wait until the broker has acknowledged all."""
        until(lambda: self.taken == self._given, "the broker has all")

    def until_receipted(self, seqs: Iterable[int], *, within_s: float = 60.0) -> None:
        """Wait until receipts name these."""
        wanted = set(seqs)
        until(lambda: wanted <= self.receipted, f"receipts for {self.gateway_id}", within_s=within_s)

    def leave(self) -> None:
        """Disconnect in order."""
        self._client.disconnect()
        self._client.loop_stop()
