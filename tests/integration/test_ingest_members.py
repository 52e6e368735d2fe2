"""Two ingests that share the messages as real processes; one is killed under load, retired, and nothing is missing."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from gateway.contract.codec import decode_receipt
from gateway.contract.credentials import Credential
from gateway.contract.times import format_timestamp
from ingest.broker import MOSQUITTO, broker_name, run_broker, write_broker_files
from ingest.journal.account import read_account
from ingest.store.opening import open_store
from poolwatch.clock import system_clock_ms
from poolwatch.folder import DataFolder

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(broker_name() != MOSQUITTO, reason="mosquitto is not installed"),
]

REGISTRY = """
schema = 1
[venues.hall]
name_zh = "馆"
name_en = "Hall"
district = "Tianning"
position = [31.78, 119.95]
[pools.north]
venue = "hall"
name_zh = "北池"
name_en = "North"
kind = "indoor"
opening_hours = "Mo-Su 06:00-22:00"
[[pools.north.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 1
[gateways.gw-a]
pools = ["north"]
"""
MESSAGES, READINGS = 3000, 3
_WITHIN_S = 60.0


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + _WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {_WITHIN_S:.0f} s: {what}"
        time.sleep(0.05)


def _command(folder: DataFolder, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "poolwatch", *arguments, "--data-dir", str(folder.root)]


def _run(folder: DataFolder, *arguments: str) -> str:
    done = subprocess.run(
        _command(folder, *arguments), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A deployment of two ingests and a gateway."""
    folder = DataFolder(tmp_path)
    folder.registry.write_text(REGISTRY, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    _run(folder, "credentials", "add", "ingest-a", "--service", "--port", port)
    _run(folder, "credentials", "add", "ingest-b", "--service")
    _run(folder, "credentials", "add", "gw-a")
    return folder


@pytest.fixture
def broker(folder: DataFolder) -> Iterator[None]:
    credentials = folder.read_credentials()
    files = write_broker_files(
        folder.broker,
        registry=folder.read_registry(),
        credentials=credentials,
        port=credentials.gateways["gw-a"].port,
    )
    stop = threading.Event()
    thread = threading.Thread(target=run_broker, args=(files, stop))
    thread.start()
    try:
        _until(lambda: _listens(files.port), "the broker listens")
        yield
    finally:
        stop.set()
        thread.join(20)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class Sender:
    """A gateway that sends messages one after the other, and each again until its receipt has come."""

    def __init__(self, credential: Credential) -> None:
        self._from_ms = system_clock_ms() - 2 * MESSAGES * READINGS * 1000
        self._owed: dict[int, float] = {}
        self.next_seq = 0
        self.sent_again = 0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=credential.username)
        self._client.username_pw_set(credential.username, credential.password)
        self._client.on_message = self._receipt
        self._credential = credential
        self._thread = threading.Thread(target=self._send)

    @property
    def is_done(self) -> bool:
        with self._lock:
            return self.next_seq == MESSAGES and not self._owed

    def _receipt(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        with self._lock:
            for first, last in decode_receipt(bytes(message.payload)).stored:
                for seq in range(first, last + 1):
                    self._owed.pop(seq, None)

    def _publish(self, seq: int) -> None:
        readings = [
            {
                "sensor_id": "fc-1",
                "quantity": "free_chlorine_mg_l",
                "measured_at": format_timestamp(self._from_ms + (seq * READINGS + number) * 1000),
                "value": 0.5,
            }
            for number in range(READINGS)
        ]
        message = {"schema": 1, "gateway_id": "gw-a", "boot_id": "b1", "seq": seq, "readings": readings}
        self._client.publish("pools/north/gateways/gw-a/readings", json.dumps(message), qos=1)

    def _send(self) -> None:
        while not self._end.wait(0.02):
            now_s = time.monotonic()
            with self._lock:
                due = [seq for seq, at_s in self._owed.items() if now_s - at_s > 3.0]
                self.sent_again += len(due)
                due += range(self.next_seq, min(self.next_seq + 5, MESSAGES))
                self.next_seq = min(self.next_seq + 5, MESSAGES)
                self._owed.update(dict.fromkeys(due, now_s))
            for seq in due:
                self._publish(seq)

    @contextmanager
    def serve(self) -> Iterator["Sender"]:
        self._client.connect(self._credential.host, self._credential.port)
        self._client.subscribe("gateways/gw-a/stored", qos=1)
        self._client.loop_start()
        self._thread.start()
        try:
            yield self
        finally:
            self._end.set()
            self._thread.join(20)
            self._client.disconnect()
            self._client.loop_stop()


def _messages(folder: DataFolder, member: str) -> int:
    journal = folder.journal_of(member)
    return read_account(journal).messages if (journal / "state.sqlite").exists() else 0


@contextmanager
def _member(folder: DataFolder, name: str) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(_command(folder, "ingest", "--member", name), stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("broker")
def test_a_member_killed_under_load_is_retired_and_nothing_is_missing(folder: DataFolder) -> None:
    gateway = folder.read_credentials().gateways["gw-a"]
    with _member(folder, "a") as a, _member(folder, "b") as b:
        # A message that comes before anybody has subscribed is sent again.
        with Sender(gateway).serve() as sender:
            _until(lambda: min(_messages(folder, "a"), _messages(folder, "b")) > 200, "both take messages in")
            a.kill()
            a.wait()
            lost_at = sender.next_seq
            assert lost_at < MESSAGES
            _until(lambda: sender.next_seq > lost_at + 200, "more is sent")
            said = _run(folder, "ingest", "retire", "a")
            found = re.search(r"a is retired: (\d+) messages were left", said)
            assert found is not None, said
            assert int(found[1]) > 0
            _until(lambda: sender.is_done, "every message has its receipt")
            # What the killed member's session held waited too long for its receipt.
            assert sender.sent_again > 0
        b.terminate()
        assert b.wait(60) == 0
    _run(folder, "reconcile")
    with closing(open_store(folder.store_url(None))) as store:
        assert store.counts().readings_by_pool == {"north": MESSAGES * READINGS}
