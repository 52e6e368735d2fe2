"""What the gateway's tests share: somebody who plays ingest, and stepping until something is true."""

import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.contract.codec import Envelope, decode_message, decode_status, encode_receipt
from gateway.contract.receipts import Receipt
from gateway.contract.topics import TopicKind, parse_topic, stored_topic
from gateway.outbox import Outbox
from gateway.publisher import Backoff, Publisher
from gateway.sensors.ports import SensorPort
from gateway.service import GatewayService, Pace

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker


def clock() -> int:
    return time.time_ns() // 1_000_000


class IngestPlayer:
    """Takes everything as ingest does, with a session that lasts, and gives receipts at once or when told to."""

    def __init__(self, port: int, *, confirming: bool) -> None:
        self.confirming = confirming
        self.envelopes: list[Envelope] = []
        self.states: list[str] = []
        self._seen: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._subscribed: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"ingest-{port}", clean_session=False
        )
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(
            [("pools/#", 1), ("gateways/+/status", 1)]
        )
        self._client.on_subscribe = lambda *_: self._subscribed.put(True)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._subscribed.get(timeout=10)

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        self._seen.put((message.topic, bytes(message.payload)))
        if self.confirming and message.topic.startswith("pools/"):
            envelope = decode_message(parse_topic(message.topic), bytes(message.payload))
            self.confirm(envelope.gateway_id, envelope.boot_id, [(envelope.seq, envelope.seq)])

    def confirm(self, gateway_id: str, boot_id: str, ranges: list[tuple[int, int]]) -> None:
        self._client.publish(stored_topic(gateway_id), encode_receipt(Receipt(boot_id, ranges)), qos=1)

    def order(self) -> list[tuple[str, int]]:
        """(boot, seq) of all messages so far, as they came, repeated ones too."""
        while not self._seen.empty():
            name, payload = self._seen.get()
            topic = parse_topic(name)
            if topic.kind is TopicKind.STATUS:
                self.states.append(decode_status(payload).state.value)
            else:
                self.envelopes.append(decode_message(topic, payload))
        return [(envelope.boot_id, envelope.seq) for envelope in self.envelopes]

    def confirm_all(self) -> None:
        for boot_id, seq in set(self.order()):
            self.confirm("g1", boot_id, [(seq, seq)])

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def play_ingest(broker: "MosquittoBroker") -> Iterator[Callable[[bool], IngestPlayer]]:
    """`play_ingest(confirming)`: somebody who plays ingest on the broker until the test ends."""
    players: list[IngestPlayer] = []

    def play(confirming: bool) -> IngestPlayer:  # noqa: FBT001 - its only argument
        players.append(IngestPlayer(broker.port, confirming=confirming))
        return players[-1]

    yield play
    for player in players:
        player.close()


@pytest.fixture
def make_gateway(
    broker: "MosquittoBroker", tmp_path: Path
) -> Iterator[Callable[[list[SensorPort], Pace], GatewayService]]:
    """`make_gateway(sensors, pace)`: gateway g1, started, with its outbox in tmp_path; closed when the test ends."""
    made: list[GatewayService] = []

    def make(sensors: list[SensorPort], pace: Pace) -> GatewayService:
        service = GatewayService(
            gateway_id="g1",
            sensors=sensors,
            outbox=Outbox(tmp_path / "outbox.sqlite"),
            publisher=Publisher(
                gateway_id="g1", credential=broker.credential("g1"), backoff=Backoff(first_s=0.1, most_s=0.3)
            ),
            clock=clock,
            pace=pace,
        )
        made.append(service)
        service.start_boot()
        return service

    yield make
    for service in made:
        service.close()


@pytest.fixture
def step_until() -> Callable[[GatewayService, Callable[[], bool]], None]:
    """`step_until(service, condition)`: step a gateway until a condition holds; fails after 20 s."""

    def step(service: GatewayService, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20.0
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true within 20 s"
            wait_s = service.step(clock())
            service.wake.wait(min(wait_s, 0.02))
            service.wake.clear()

    return step
