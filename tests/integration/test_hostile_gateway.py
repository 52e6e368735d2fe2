"""One allowed gateway sends nonsense by the thousand; its neighbour loses nothing, and every piece is accounted for."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.contract.credentials import Credential, Credentials, render_credentials
from gateway.contract.times import parse_timestamp
from ingest.broker import MOSQUITTO, broker_name
from ingest.store.opening import open_store
from poolwatch.clock import system_clock_ms
from poolwatch.folder import DataFolder

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(broker_name() != MOSQUITTO, reason="mosquitto is not installed"),
]
REGISTRY = """
schema = 1
[venues.hall]
name_zh = "馆"
name_en = "Hall"
district = "Tianning"
position = [31.78, 119.95]
[pools.bad]
venue = "hall"
name_zh = "坏池"
name_en = "Bad"
kind = "indoor"
opening_hours = "Mo-Su 06:00-22:00"
[pools.good]
venue = "hall"
name_zh = "好池"
name_en = "Good"
kind = "indoor"
opening_hours = "Mo-Su 06:00-22:00"
[[pools.good.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 60
[gateways.gw-bad]
pools = ["bad"]
[gateways.gw-good]
pools = ["good"]
"""
HOSTILE, GOOD = 3000, 300
WRITABLE = "pools/bad/gateways/gw-bad/readings"
FOREIGN = "pools/good/gateways/gw-good/readings"
#: Mosquitto's bound on a message is four times the contract's: above the one ingest says why, above the other the broker.
TOO_LARGE_FOR_THE_BROKER = 257 * 1024


def _until(condition: Callable[[], bool], what: str, *, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])

    def entry(name: str) -> Credential:
        return Credential(name, f"password of {name}", "127.0.0.1", port)

    folder = DataFolder(tmp_path)
    folder.registry.write_text(REGISTRY, encoding="utf-8")
    gateways = {name: entry(name) for name in ("gw-bad", "gw-good")}
    text = render_credentials(Credentials(gateways, {"ingest": entry("poolwatch-ingest")}))
    folder.credentials.write_text(text, encoding="utf-8")
    return folder


@contextmanager
def _service(folder: DataFolder, name: str, says: str, *more: str) -> Iterator["subprocess.Popen[bytes]"]:
    log = folder.root / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "poolwatch", name, "--data-dir", str(folder.root), *more],
            stdout=file,
            stderr=file,
        )
    try:
        _until(lambda: says in log.read_text(errors="replace"), f"{name} is ready")
        yield process
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


class Sender:
    """A client that comes back after each of the broker's refusals and counts what the broker took."""

    def __init__(self, credential: Credential) -> None:
        self.taken: Counter[bool] = Counter()
        self.drops = 0
        self.client = Client(
            CallbackAPIVersion.VERSION2, client_id=credential.username, protocol=MQTTProtocolVersion.MQTTv5
        )
        self.client.username_pw_set(credential.username, credential.password)
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(200)
        self.client.on_publish = self._on_publish
        self.client.on_disconnect = self._on_disconnect
        self.client.connect(credential.host, credential.port)
        self.client.loop_start()

    def _on_publish(self, _client: Any, _userdata: Any, _mid: int, reason: Any, _properties: Any) -> None:
        self.taken[not reason.is_failure] += 1

    def _on_disconnect(self, *_: Any) -> None:
        self.drops += 1

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def _hostile(number: int, chance: random.Random) -> bytes:
    """A payload that ingest must refuse as a whole; each is one of its own."""
    envelope = {"schema": 1, "gateway_id": "gw-bad", "boot_id": "b", "seq": number, "readings": []}
    whole = json.dumps(envelope)
    kinds: list[Callable[[], bytes]] = [
        lambda: chance.randbytes(chance.randrange(1, 400)),
        lambda: b"[" * chance.randrange(1000, 60_000) + b"%d" % number,
        lambda: whole.replace('"schema": 1', f'"schema": {"9" * chance.randrange(20, 5000)}').encode(),
        lambda: whole.replace('"b"', '"\\ud800"').encode(),
        lambda: whole.replace('"b"', '"\\u001b[31m"').encode(),
        lambda: whole.encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + whole.encode(),
        lambda: b"\0" * chance.randrange(1, 70_000) + b"%d" % number,
        lambda: json.dumps(envelope | {"gateway_id": "gw-good"}).encode(),
        lambda: json.dumps(envelope | {f"\x1b]0;x{number}\x07": 1}).encode(),
        lambda: json.dumps(envelope | {"readings": [{}] * 10_000}).encode(),
        lambda: json.dumps(envelope | {"boot_id": "b" * chance.randrange(100, 60_000)}).encode(),
        lambda: json.dumps({f"k{key}": number for key in range(3000)}).encode(),
    ]
    return kinds[number % len(kinds)]()


def _quarantined(folder: DataFolder) -> tuple[int, str]:
    """How many refusals `poolwatch quarantine list` counts, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "poolwatch", "quarantine", "list", "--data-dir", str(folder.root)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | {"COLUMNS": "1000"},  # the counts in one line
    )
    return sum(map(int, re.findall(r"\w+: (\d+)", done.stdout.splitlines()[-1]))), done.stdout


@pytest.mark.timeout(240)
def test_a_neighbour_of_a_hostile_gateway_loses_nothing(folder: DataFolder) -> None:
    chance = random.Random(5)
    credentials = folder.read_credentials()
    port = str(credentials.services["ingest"].port)
    start = datetime.fromtimestamp(system_clock_ms() // 1000, UTC) - timedelta(seconds=GOOD)
    instants = [f"{(start + timedelta(seconds=number)):%Y-%m-%dT%H:%M:%S}Z" for number in range(GOOD)]
    with (
        _service(folder, "broker", "broker listens", "--port", port),
        _service(folder, "ingest", "connected to the broker") as ingest,
    ):
        bad, good = Sender(credentials.gateways["gw-bad"]), Sender(credentials.gateways["gw-good"])
        try:
            _until(lambda: bad.client.is_connected() and good.client.is_connected(), "both connect")
            for number in range(HOSTILE):
                bad.client.publish(WRITABLE, _hostile(number, chance), qos=1)
                if number % (HOSTILE // GOOD) == 0:
                    seq = number // (HOSTILE // GOOD)
                    reading = {
                        "sensor_id": "fc-1",
                        "quantity": "free_chlorine_mg_l",
                        "measured_at": instants[seq],
                        "value": seq / 1000,
                    }
                    message = {
                        "schema": 1,
                        "gateway_id": "gw-good",
                        "boot_id": "g",
                        "seq": seq,
                        "readings": [reading],
                    }
                    good.client.publish(FOREIGN, json.dumps(message).encode(), qos=1)
            _until(lambda: bad.taken.total() == HOSTILE and good.taken.total() == GOOD, "all acknowledged")
            assert bad.taken == {True: HOSTILE}
            # What the broker itself refuses never reaches ingest: a foreign topic, and what is too large.
            bad.client.publish(FOREIGN, b"{}", qos=1)
            _until(lambda: bad.taken[False] == 1 or bad.drops > 0, "refused")
        finally:
            good.leave()
            bad.leave()
        with socket.create_connection(("127.0.0.1", int(port)), 5) as noise:
            noise.sendall(chance.randbytes(100_000))
        huge = Sender(credentials.gateways["gw-bad"])
        try:
            _until(huge.client.is_connected, "back")
            huge.client.publish(WRITABLE, b"x" * TOO_LARGE_FOR_THE_BROKER, qos=1)
            _until(lambda: huge.drops > 0 or huge.taken[False] == 1, "too large is refused")
        finally:
            huge.leave()
        _until(lambda: _quarantined(folder)[0] >= HOSTILE, "every hostile message is in quarantine")
        store = open_store(folder.store_url(None))
        try:
            span = {
                "from_ms": parse_timestamp(instants[0]),
                "to_ms": parse_timestamp(instants[-1]) + 1,
            }

            def stored() -> list[float]:
                return [
                    float(value)
                    for series in store.readings("good", **span).values()
                    for value in series.value
                ]

            _until(lambda: len(stored()) >= GOOD, "the neighbour's readings are stored")
            assert stored() == [number / 1000 for number in range(GOOD)]
            assert not store.readings("bad", **span)
        finally:
            store.close()
        assert ingest.poll() is None
    count, printed = _quarantined(folder)
    assert count == HOSTILE
    # What a stranger wrote must not steer the terminal of who reads it.
    assert "\x1b" not in printed
