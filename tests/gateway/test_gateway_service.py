"""A gateway against a real broker; the test plays ingest and decides which receipts are given."""

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.contract.codec import decode_message, decode_status, encode_receipt
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading
from gateway.contract.receipts import Receipt
from gateway.contract.times import format_timestamp
from gateway.contract.topics import parse_topic, status_topic, stored_topic
from gateway.errors import SensorError
from gateway.outbox import Outbox
from gateway.publisher import Backoff, Publisher
from gateway.service import GatewayService, Pace

pytestmark = pytest.mark.integration


def clock() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class CountingSensor:
    """Reads 0.01, 0.02 … mg/L."""

    pool_id: str = "p1"
    interval_s: float = 0.05
    count: int = 0
    fails: bool = False

    def read(self, now_ms: int) -> list[Reading]:
        if self.fails:
            raise SensorError("no answer")
        self.count += 1
        return [Reading("fc-1", Quantity.FREE_CHLORINE_MG_L, format_timestamp(now_ms), self.count / 100)]


@dataclass
class Ingest:
    """Subscribes to everything, and gives receipts when told to."""

    client: mqtt.Client
    seen: "queue.SimpleQueue[tuple[str, bytes]]"
    taken: list[tuple[str, int]] = field(default_factory=list)

    def take(self) -> None:
        while not self.seen.empty():
            topic, payload = self.seen.get()
            if topic.endswith("/readings"):
                envelope = decode_message(parse_topic(topic), payload)
                self.taken.append((envelope.boot_id, envelope.seq))

    def confirm(self, gateway_id: str) -> None:
        self.take()
        for boot_id in {boot_id for boot_id, _ in self.taken}:
            seqs = [(seq, seq) for boot, seq in self.taken if boot == boot_id][:1000]
            self.client.publish(stored_topic(gateway_id), encode_receipt(Receipt(boot_id, seqs)), qos=1)


@contextmanager
def ingest_on(port: int, *, client_id: str = "ingest") -> Iterator[Ingest]:
    seen: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
    client.on_message = lambda _client, _userdata, message: seen.put((message.topic, bytes(message.payload)))
    client.on_connect = lambda client, *_: client.subscribe([("pools/#", 1), ("gateways/+/status", 1)])
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield Ingest(client, seen)
    finally:
        client.disconnect()
        client.loop_stop()


def gateway_on(broker: "object", path: Path, sensors: list[CountingSensor], **pace: float) -> GatewayService:
    service = GatewayService(
        gateway_id="g1",
        sensors=sensors,
        outbox=Outbox(path),
        publisher=Publisher(
            gateway_id="g1",
            credential=broker.credential("g1"),  # type: ignore[attr-defined]
            backoff=Backoff(first_s=0.1, most_s=0.3),
        ),
        clock=clock,
        pace=Pace(**pace),  # type: ignore[arg-type]
    )
    service.start_boot()
    return service


def step_until(service: GatewayService, condition: Callable[[], bool], *, within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        wait_s = service.step(clock())
        service.wake.wait(min(wait_s, 0.02))
        service.wake.clear()


def test_a_message_leaves_the_outbox_only_when_a_receipt_names_it(broker: "object", tmp_path: Path) -> None:
    sensor = CountingSensor()
    service = gateway_on(broker, tmp_path / "o.sqlite", [sensor])
    with ingest_on(broker.port) as ingest:  # type: ignore[attr-defined]

        def arrived() -> bool:
            ingest.take()
            return len(ingest.taken) >= 5

        step_until(service, arrived)
        assert service.outbox.account().messages_pending == sensor.count
        service.measuring = False
        boot_id = service.outbox.boot_id
        ingest.client.publish(stored_topic("g1"), encode_receipt(Receipt(boot_id, [(1, 1), (3, 3)])), qos=1)
        step_until(service, lambda: service.outbox.account().messages_pending == sensor.count - 2)
        assert {1, 3}.isdisjoint(message.seq for message in service.outbox.pending(limit=100))
        step_until(service, lambda: len(_seqs(ingest)) == sensor.count)
        ingest.confirm("g1")
        step_until(service, lambda: service.settled)
    service.close()


def _seqs(ingest: Ingest) -> set[tuple[str, int]]:
    ingest.take()
    return set(ingest.taken)


def test_an_outage_loses_nothing_and_live_readings_go_before_the_backlog(
    broker: "object", tmp_path: Path
) -> None:
    sensor = CountingSensor(interval_s=0.01)
    service = gateway_on(broker, tmp_path / "o.sqlite", [sensor], backlog_window=20)
    with ingest_on(broker.port) as ingest:  # type: ignore[attr-defined]
        step_until(service, lambda: len(_seqs(ingest)) >= 3)
        broker.kill()  # type: ignore[attr-defined]
        step_until(service, lambda: not service.publisher.connected)
        step_until(service, lambda: sensor.count >= 300)
        before = sensor.count
        broker.start()  # type: ignore[attr-defined]
        step_until(service, lambda: service.publisher.connected)
        already = len(ingest.taken)
        step_until(service, lambda: sensor.count >= before + 40)
        service.measuring = False
        step_until(service, lambda: len(_seqs(ingest)) == sensor.count)
        order = [seq for _, seq in ingest.taken[already:]]
        # The first live message after the outage came before the last of the backlog.
        live = next(index for index, seq in enumerate(order) if seq >= before)
        last_of_backlog = max(index for index, seq in enumerate(order) if seq < before)
        assert live < last_of_backlog
        ingest.confirm("g1")
        step_until(service, lambda: service.settled)
    service.close()


def test_what_the_broker_took_and_lost_is_sent_again(broker: "object", tmp_path: Path) -> None:
    sensor = CountingSensor()
    service = gateway_on(broker, tmp_path / "o.sqlite", [sensor], resend_after_s=0.3)
    # Nobody subscribes: the broker acknowledges and forgets, as one does that keeps its memory only in memory.
    step_until(service, lambda: service.counters.sent >= 3)
    service.measuring = False
    with ingest_on(broker.port) as ingest:  # type: ignore[attr-defined]
        step_until(service, lambda: len(_seqs(ingest)) == sensor.count)
        ingest.confirm("g1")
        step_until(service, lambda: service.settled)
    service.close()


def test_five_times_without_a_receipt_ends_in_the_dead_letters(broker: "object", tmp_path: Path) -> None:
    sensor = CountingSensor(interval_s=60)
    service = gateway_on(broker, tmp_path / "o.sqlite", [sensor], resend_after_s=0.02)
    step_until(service, lambda: service.counters.dead_letters == 1)
    assert service.counters.sent == 5
    assert len(service.outbox.dead_letters()) == 1
    service.close()


def test_a_sensor_that_fails_does_not_stop_the_others(broker: "object", tmp_path: Path) -> None:
    broken, healthy = CountingSensor(fails=True), CountingSensor(pool_id="p2")
    service = gateway_on(broker, tmp_path / "o.sqlite", [broken, healthy])
    step_until(service, lambda: healthy.count >= 3)
    assert service.counters.sensor_errors >= 3
    assert service.outbox.account().readings_sent == healthy.count
    service.close()


def test_status_is_retained_and_the_last_will_says_offline(broker: "object", tmp_path: Path) -> None:
    sensor = CountingSensor()
    service = gateway_on(broker, tmp_path / "o.sqlite", [sensor])
    step_until(service, lambda: service.publisher.connected)
    step_until(service, lambda: sensor.count >= 2)

    def states(ingest: Ingest) -> list[str]:
        found = []
        while not ingest.seen.empty():
            topic, payload = ingest.seen.get()
            if topic == status_topic("g1"):
                status = decode_status(payload)
                assert status.boot_id == service.outbox.boot_id
                found.append(status.state.value)
        return found

    seen: list[str] = []
    with ingest_on(broker.port, client_id="watcher") as ingest:  # type: ignore[attr-defined]

        def saw(state: str) -> bool:
            seen.extend(states(ingest))
            return state in seen

        step_until(service, lambda: saw("online"))
        seen.clear()
        service.disconnect_abruptly()
        step_until(service, lambda: saw("offline"))
        before = sensor.count
        step_until(service, lambda: sensor.count > before)  # measuring goes on
        seen.clear()
        service.reconnect()
        step_until(service, lambda: saw("online"))
    service.close()


def test_messages_fit_the_contract_and_one_message_carries_what_is_due_together(
    broker: "object", tmp_path: Path
) -> None:
    service = gateway_on(
        broker, tmp_path / "o.sqlite", [CountingSensor(), CountingSensor(), CountingSensor(pool_id="p2")]
    )
    service.step(clock())
    by_topic = {message.topic: msgspec.json.decode(message.payload) for message in service.outbox.pending()}
    assert {topic: len(payload["readings"]) for topic, payload in by_topic.items()} == {
        "pools/p1/gateways/g1/readings": 2,
        "pools/p2/gateways/g1/readings": 1,
    }
    service.close()
