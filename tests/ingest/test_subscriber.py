import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client

from gateway.contract.credentials import Credentials
from gateway.contract.registry import Registry
from ingest.broker import MOSQUITTO, broker_name, run_broker, write_broker_files
from ingest.incoming import Incoming
from ingest.subscriber import MqttSubscriber

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(broker_name() != MOSQUITTO, reason="mosquitto is not installed"),
]

TOPIC = "pools/north/gateways/gw-a/readings"
Connect = Callable[..., Client]
WaitUntil = Callable[..., None]


@contextmanager
def _broker(folder: Path, registry: Registry, credentials: Credentials) -> Iterator[None]:
    port = credentials.services["ingest"].port
    files = write_broker_files(folder, registry=registry, credentials=credentials, port=port)
    stop = threading.Event()
    thread = threading.Thread(target=run_broker, args=(files, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


@pytest.fixture
def subscriber(credentials: Credentials) -> Iterator[MqttSubscriber]:
    made = MqttSubscriber(credentials.services["ingest"], clock=lambda: 42)
    made.start()
    yield made
    made.close()


def _take(subscriber: MqttSubscriber, count: int, wait_until: WaitUntil) -> list[Incoming]:
    taken: list[Incoming] = []

    def enough() -> bool:
        taken.extend(subscriber.take(count, wait_s=0.05))
        return len(taken) >= count

    wait_until(enough)
    return taken


def test_an_acknowledgement_of_a_lost_connection_is_not_sent_on_the_next(
    tmp_path: Path,
    registry: Registry,
    credentials: Credentials,
    subscriber: MqttSubscriber,
    connect: Connect,
    wait_until: WaitUntil,
) -> None:
    with _broker(tmp_path / "broker", registry, credentials):
        wait_until(lambda: subscriber.is_connected)
        a = connect(credentials.gateways["gw-a"])
        a.publish("gateways/gw-a/status", b"{}", qos=1, retain=True)
        subscriber.acknowledge(_take(subscriber, 1, wait_until))  # it has subscribed
        for body in (b"0", b"1", b"2"):
            a.publish(TOPIC, body, qos=1)
        before = _take(subscriber, 3, wait_until)
        assert [(one.topic, one.payload, one.received_at_ms, one.qos) for one in before] == [
            (TOPIC, body, 42, 1) for body in (b"0", b"1", b"2")
        ]
        assert subscriber.acknowledge(before[:1]) == 1
        wait_until(lambda: subscriber.publish_receipt("gw-a", b"{}"))
    wait_until(lambda: not subscriber.is_connected)
    assert subscriber.acknowledge(before[1:]) == 0
    assert not subscriber.publish_receipt("gw-a", b"{}")
    with _broker(tmp_path / "broker", registry, credentials):
        wait_until(lambda: subscriber.is_connected)
        # Still of the old connection, although there is a new one.
        assert subscriber.acknowledge(before[1:]) == 0
        again = _take(subscriber, 2, wait_until)
        again += subscriber.take(10, wait_s=0.3)
        readings = [one for one in again if one.topic == TOPIC]
        assert [one.payload for one in readings] == [b"1", b"2"]
        assert subscriber.acknowledge(readings) == 2


def test_a_full_queue_makes_the_broker_wait_and_loses_nothing(
    tmp_path: Path,
    registry: Registry,
    credentials: Credentials,
    connect: Connect,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ingest.subscriber._HELD_BYTES", 5)
    with _broker(tmp_path / "broker", registry, credentials):
        subscriber = MqttSubscriber(credentials.services["ingest"], clock=lambda: 42)
        subscriber.start()
        try:
            wait_until(lambda: subscriber.is_connected)
            a = connect(credentials.gateways["gw-a"])
            a.publish("gateways/gw-a/status", b"{}", qos=1, retain=True)
            subscriber.acknowledge(_take(subscriber, 1, wait_until))
            sent = [str(number).encode() for number in range(60)]
            for body in sent:
                a.publish(TOPIC, body, qos=1).wait_for_publish(10)
            assert [one.payload for one in _take(subscriber, 60, wait_until)] == sent
        finally:
            subscriber.close()


def test_a_wrong_password_is_tried_again_without_a_message(
    tmp_path: Path, registry: Registry, credentials: Credentials
) -> None:
    wrong: dict[str, Any] = {"ingest": credentials.gateways["gw-a"]}
    other = Credentials({"gw-b": credentials.gateways["gw-b"]}, {"ingest": credentials.services["ingest"]})
    with _broker(tmp_path / "broker", registry, other):
        subscriber = MqttSubscriber(wrong["ingest"], clock=lambda: 42)
        subscriber.start()
        try:
            assert subscriber.take(10, wait_s=0.5) == []
            assert not subscriber.is_connected
        finally:
            subscriber.close()
