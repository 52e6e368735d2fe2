"""Simulated gateways over the real wire: readings arrive, a cut line is caught up, nothing is lost or doubled."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.contract.codec import decode_message, encode_receipt
from gateway.contract.credentials import Credential, Credentials
from gateway.contract.readings import Reading
from gateway.contract.receipts import Receipt
from gateway.contract.topics import READINGS_FILTER, parse_topic, stored_topic
from gateway.outbox import read_account
from simulators.faults import FaultKind, Slot, Timetable
from simulators.scenarios import ScenarioError, build_scenario
from simulators.service import build_gateways, run_scenario

_START_MS = 1_800_000_000_000


def _clock() -> Callable[[], int]:
    began_s = time.monotonic()
    return lambda: _START_MS + int((time.monotonic() - began_s) * 1000)


@pytest.fixture
def broker_port(tmp_path: Path) -> Iterator[int]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
    with subprocess.Popen([program, "-c", str(settings)], stderr=subprocess.DEVNULL) as broker:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "mosquitto did not start"
                time.sleep(0.02)
        yield port
        broker.terminate()


class Collector:
    """Takes every reading and gives a receipt for each message, as ingest does."""

    def __init__(self, port: int) -> None:
        self.readings: list[tuple[str, str, str, int, Reading]] = []
        self.ready = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="collector")
        self.client.on_connect = lambda client, *_: client.subscribe(READINGS_FILTER, qos=1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        topic = parse_topic(message.topic)
        envelope = decode_message(topic, bytes(message.payload))
        assert topic.pool_id is not None
        for item in envelope.items:
            assert isinstance(item, Reading)
            self.readings.append((topic.pool_id, envelope.gateway_id, envelope.boot_id, envelope.seq, item))
        receipt = Receipt(boot_id=envelope.boot_id, stored=[(envelope.seq, envelope.seq)])
        client.publish(stored_topic(envelope.gateway_id), encode_receipt(receipt), qos=1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.integration
def test_a_cut_gateway_catches_up_and_nothing_is_lost(broker_port: int, tmp_path: Path) -> None:
    scenario = build_scenario("demo", pools=3, seed=1, start_ms=_START_MS)
    victim = scenario.gateway_ids[1]
    pools_of_victim = tuple(pool.pool_id for pool in scenario.pools_of(victim))
    cut = Slot(FaultKind.DEAD_GATEWAY, start_s=1.5, duration_s=2.5)
    scenario = replace(
        scenario,
        interval_s=0.2,
        timetable=Timetable((cut,), period_s=1000.0, pools_by_gateway=((victim, pools_of_victim),)),
    )
    credential = Credential(username="x", password="x", host="127.0.0.1", port=broker_port)
    credentials = Credentials(dict.fromkeys(scenario.gateway_ids, credential), {})
    collector = Collector(broker_port)
    assert collector.ready.wait(10)
    clock, stop = _clock(), threading.Event()
    runner = threading.Thread(
        target=run_scenario,
        args=(scenario,),
        kwargs={"gateways_dir": tmp_path, "credentials": credentials, "clock": clock, "stop": stop},
    )
    runner.start()
    try:
        during: list[int] = []
        deadline = time.monotonic() + 40
        while clock() < _START_MS + 6000 and time.monotonic() < deadline:
            if _START_MS + 2500 <= clock() < _START_MS + 3900:
                during.append(sum(gateway_id == victim for _, gateway_id, *_ in collector.readings))
            time.sleep(0.05)
    finally:
        stop.set()
        runner.join(30)
        collector.close()
    assert not runner.is_alive()
    assert during
    assert len(set(during)) == 1, "readings of the cut gateway came through"
    sent = {name: read_account(tmp_path / name / "outbox.sqlite") for name in scenario.gateway_ids}
    for gateway_id, account in sent.items():
        received = {
            (boot_id, seq, reading.sensor_id, reading.quantity, reading.measured_at)
            for _, name, boot_id, seq, reading in collector.readings
            if name == gateway_id
        }
        assert account.readings_pending == account.readings_dead == account.readings_dropped == 0
        assert len(received) == account.readings_sent
    measured_ms = [
        reading.measured_at_ms
        for _, name, *_, reading in collector.readings
        if name == victim and reading.sensor_id == "fc-1"
    ]
    assert any(_START_MS + 2000 < at_ms < _START_MS + 3800 for at_ms in measured_ms), "it did not measure on"


def test_missing_credentials_are_named_and_no_outbox_is_left_open(tmp_path: Path) -> None:
    scenario = build_scenario("demo", pools=3, seed=1, start_ms=_START_MS)
    with pytest.raises(ScenarioError, match="gw-qingfeng, gw-yunhe-wan"):
        build_gateways(scenario, gateways_dir=tmp_path, credentials=Credentials({}, {}), clock=_clock())
    assert list(tmp_path.iterdir()) == []
