"""The whole of ingest: real brokers, a real store, and processes that are killed."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage

from gateway.contract.codec import decode_receipt
from gateway.contract.credentials import Credential, Credentials
from gateway.contract.registry import Registry
from ingest.broker import IOTCORE, MOSQUITTO, broker_name, write_broker_files
from ingest.counters import IngestCounters
from ingest.journal.account import read_account, read_seq_ranges
from ingest.journal.quarantine import count_quarantine, read_quarantine
from ingest.journal.verification import verify_journal
from ingest.journal.view import messages_of
from ingest.receipt_book import merge_ranges
from ingest.running import opened_ingest
from ingest.store.opening import open_store
from ingest.store.records import StoreCounts

pytestmark = pytest.mark.integration

TOPIC = "pools/north/gateways/gw-a/readings"
STORED = "gateways/gw-a/stored"
Build = Callable[..., Any]
WaitUntil = Callable[..., None]


class Place:
    """Files of one ingest."""

    def __init__(self, folder: Path, registry_text: str, now_ms: int) -> None:
        self.registry = folder / "pools.toml"
        self.registry.write_text(registry_text, encoding="utf-8")
        self.journal = folder / "ingest" / "journal"
        self.store_url = f"sqlite:{folder / 'store.sqlite'}"
        self.now_ms = now_ms

    @contextmanager
    def serve(self, credential: Credential) -> Iterator[IngestCounters]:
        """Ingest in a thread of this process."""
        stop, counters, ticks = threading.Event(), IngestCounters(), count(self.now_ms)

        def run() -> None:
            with opened_ingest(
                registry_path=self.registry,
                credential=credential,
                journal_folder=self.journal,
                store_url=self.store_url,
                clock=lambda: next(ticks),
                stop=stop,
                counters=counters,
            ) as service:
                assert service is not None
                service.run(stop)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield counters
        finally:
            stop.set()
            thread.join(30)
        assert not thread.is_alive()

    def spawn(self, credential: Credential) -> "subprocess.Popen[bytes]":
        """Ingest as a process of its own."""
        program = (
            "import json, sys, threading\n"
            "from pathlib import Path\n"
            "from gateway.contract.credentials import Credential\n"
            "from ingest.running import opened_ingest\n"
            "given, stop = json.loads(sys.argv[1]), threading.Event()\n"
            "with opened_ingest(registry_path=Path(given['registry']), credential=Credential(*given['credential']),\n"
            "    journal_folder=Path(given['journal']), store_url=given['store'],\n"
            "    clock=lambda: given['now_ms'], stop=stop) as service:\n"
            "    service.run(stop)\n"
        )
        given = {
            "registry": str(self.registry),
            "credential": [credential.username, credential.password, credential.host, credential.port],
            "journal": str(self.journal),
            "store": self.store_url,
            "now_ms": self.now_ms,
        }
        return subprocess.Popen([sys.executable, "-c", program, json.dumps(given)], stdout=subprocess.DEVNULL)

    def messages(self) -> int:
        return read_account(self.journal).messages if (self.journal / "state.sqlite").exists() else 0

    def has_more_than(self, messages: int) -> bool:
        return self.messages() > messages

    def counts(self) -> StoreCounts:
        with closing(open_store(self.store_url)) as store:
            return store.counts()


@pytest.fixture
def place(tmp_path: Path, registry_text: str, now_ms: int) -> Place:
    return Place(tmp_path, registry_text, now_ms)


class Receipts:
    """What a gateway was told."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def __call__(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.ranges += decode_receipt(bytes(message.payload)).stored

    @property
    def seqs(self) -> list[int]:
        return [seq for first, last in merge_ranges(self.ranges) for seq in range(first, last + 1)]


def _subscribe(client: Client, topic: str, wait_until: WaitUntil) -> None:
    granted: list[object] = []
    client.on_subscribe = lambda *_: granted.append(True)
    client.subscribe(topic, qos=1)
    wait_until(lambda: bool(granted))


def test_good_messages_are_stored_and_receipted_and_bad_ones_are_quarantined(
    ingest_broker: Credentials,
    place: Place,
    connect: Build,
    reading: Build,
    payload: Build,
    wait_until: WaitUntil,
) -> None:
    receipts = Receipts()
    with place.serve(ingest_broker.services["ingest"]) as counters:
        a = connect(ingest_broker.gateways["gw-a"], on_message=receipts)
        _subscribe(a, STORED, wait_until)
        _wait_for_session(a, place, wait_until)
        bad = [
            payload([reading(sensor_id="fc-9")], seq=1),
            payload([reading(quantity="ph")], seq=2),
            payload([reading(measured_at="2026-07-01T09:00:00Z")], seq=3),
            payload([reading(by="x" * 100_000)], seq=4),
            b'{"schema": 1, "readings": [',
        ]
        for message in (payload([reading(), reading(value="much")], seq=0), *bad):
            a.publish(TOPIC, message, qos=1)
        a.publish(
            "pools/north/gateways/gw-a/logbook",
            payload([{"kind": "closure", "at": "2026-07-01T08:00:00Z", "by": "Li"}], seq=5, name="entries"),
            qos=1,
        )
        a.publish(TOPIC, payload([reading(value=0.53, measured_at="2026-07-01T08:01:00Z")], seq=6), qos=1)
        wait_until(lambda: receipts.seqs == list(range(7)))
        wait_until(lambda: place.counts().readings == 2 and _in_flight(place) == 0)
        assert place.counts().logbook_by_pool == {"north": 1}
        # While ingest runs:
        assert count_quarantine(place.journal) == {
            "foreign_quantity": 1,
            "future_time": 1,
            "malformed_json": 1,
            "too_large": 1,
            "unknown_sensor": 1,
            "wrong_shape": 1,
        }
        wait_until(lambda: counters.acknowledged_messages == 9)
    assert all(entry.text for entry in read_quarantine(place.journal))
    assert verify_journal(place.journal).messages == 9
    (account,) = read_account(place.journal).gateways
    assert account.tally.readings == place.counts().readings + account.tally.quarantined_readings
    assert account.tally.statuses == 1


def _wait_for_session(a: Client, place: Place, wait_until: WaitUntil) -> None:
    """Return when ingest has subscribed: then it gets the retained status, and nothing is sent past it any more."""
    a.publish("gateways/gw-a/status", _status(), qos=1, retain=True)
    wait_until(lambda: place.messages() == 1)


def _status() -> bytes:
    return b'{"state": "online", "boot_id": "b1", "since": "2026-07-01T08:00:00Z"}'


def _in_flight(place: Place) -> int:
    return read_account(place.journal).total.in_flight_messages


def test_a_pool_that_the_registry_no_longer_names_is_quarantined_and_a_new_registry_counts(
    ingest_broker: Credentials,
    place: Place,
    registry_text: str,
    connect: Build,
    reading: Build,
    payload: Build,
    wait_until: WaitUntil,
) -> None:
    without = registry_text.replace("north", "other")
    place.registry.write_text(without, encoding="utf-8")
    with place.serve(ingest_broker.services["ingest"]) as counters:
        a = connect(ingest_broker.gateways["gw-a"])
        _wait_for_session(a, place, wait_until)
        a.publish(TOPIC, payload([reading()], seq=0), qos=1)
        wait_until(lambda: place.messages() == 2)
        assert count_quarantine(place.journal) == {"unknown_pool": 1}
        place.registry.write_text("schema = 1\n[pools.north]\n", encoding="utf-8")
        wait_until(lambda: counters.registry_refusals == 1)
        place.registry.write_text(registry_text, encoding="utf-8")
        wait_until(lambda: counters.registry_reloads == 1)
        a.publish(TOPIC, payload([reading()], seq=1), qos=1)
        wait_until(lambda: place.counts().readings == 1)
    with closing(open_store(place.store_url)) as store:
        assert store.registry_text() == registry_text


def test_killed_in_mid_stream_nothing_is_lost_and_nothing_is_there_twice(
    ingest_broker: Credentials,
    place: Place,
    connect: Build,
    reading: Build,
    payload: Build,
    wait_until: WaitUntil,
) -> None:
    messages = 1500
    receipts = Receipts()
    a = connect(ingest_broker.gateways["gw-a"], on_message=receipts)
    _subscribe(a, STORED, wait_until)
    sent = [
        payload(
            [reading(measured_at=f"2026-07-01T{seq // 3600:02}:{seq // 60 % 60:02}:{seq % 60:02}Z")], seq=seq
        )
        for seq in range(messages)
    ]

    def stream() -> None:
        for message in sent:
            a.publish(TOPIC, message, qos=1).wait_for_publish(20)

    publisher = threading.Thread(target=stream)
    ingest = place.spawn(ingest_broker.services["ingest"])
    interrupted = 0
    try:
        _wait_for_session(a, place, wait_until)
        publisher.start()
        for reached in (100, 600, 1100):
            wait_until(partial(place.has_more_than, reached))
            ingest.kill()
            ingest.wait()
            interrupted += publisher.is_alive()
            ingest = place.spawn(ingest_broker.services["ingest"])
        publisher.join(60)
        wait_until(lambda: place.messages() == messages + 1, within_s=40)
        wait_until(lambda: _in_flight(place) == 0)
    finally:
        ingest.kill()
        ingest.wait()
        publisher.join(60)
    assert interrupted  # at least once it died while messages were on their way
    assert verify_journal(place.journal).messages == messages + 1
    assert [message.payload for message in messages_of(place.journal, from_id=2)] == sent
    assert read_seq_ranges(place.journal) == {("gw-a", "b1"): [(0, messages - 1)]}
    assert place.counts().readings == messages
    # A last start, so that what was killed between commit and acknowledgement is acknowledged, and then the broker
    # has nothing left to give to ingest's session but a message that comes afterwards.
    with place.serve(ingest_broker.services["ingest"]):
        a.publish(TOPIC, payload([reading(value=0.1)], seq=messages, boot_id="b1"), qos=1)
        wait_until(lambda: messages in receipts.seqs)
    left: list[bytes] = []
    session = connect(
        ingest_broker.services["ingest"],
        clean=False,
        on_message=lambda _client, _userdata, message: left.append(message.payload),
    )
    last = payload([reading(value=0.2)], seq=messages + 1)
    a.publish(TOPIC, last, qos=1)
    wait_until(lambda: last in left)
    assert left == [last]
    assert session.is_connected()


def test_the_embedded_broker_carries_the_same_flow(
    embedded_broker: Credentials,
    place: Place,
    connect: Build,
    reading: Build,
    payload: Build,
    wait_until: WaitUntil,
) -> None:
    receipts = Receipts()
    gateway = embedded_broker.gateways["gw-a"]
    with place.serve(embedded_broker.services["ingest"]) as counters:
        wait_until(lambda: counters.received_messages >= 0 and (place.journal / "state.sqlite").exists())
        a = connect(gateway, on_message=receipts)
        _subscribe(a, STORED, wait_until)
        large = payload([reading(by="x" * 100_000)], seq=1)

        def send_again_until_receipted() -> bool:
            # The broker keeps nothing for an ingest that has not subscribed yet, as a gateway has to expect.
            if 0 not in receipts.seqs:
                a.publish(TOPIC, payload([reading()], seq=0), qos=1).wait_for_publish(5)
            return 0 in receipts.seqs

        wait_until(send_again_until_receipted)
        a.publish(TOPIC, large, qos=1)
        a.publish(TOPIC, payload([reading(value=0.4, measured_at="2026-07-01T08:01:00Z")], seq=2), qos=1)
        wait_until(lambda: receipts.seqs == [0, 1, 2])
        wait_until(lambda: place.counts().readings == 2)
    assert count_quarantine(place.journal) == {"too_large": 1}
    assert verify_journal(place.journal).broken_at is None


@pytest.mark.parametrize("program", [MOSQUITTO, IOTCORE])
def test_a_killed_broker_costs_nothing_that_a_gateway_keeps_until_its_receipt(
    tmp_path: Path,
    registry: Registry,
    credentials: Credentials,
    place: Place,
    connect: Build,
    reading: Build,
    payload: Build,
    wait_until: WaitUntil,
    program: str,
) -> None:
    if program == MOSQUITTO and broker_name() != MOSQUITTO:
        pytest.skip("mosquitto is not installed")
    if program == IOTCORE and find_spec("iotcore") is None:
        pytest.skip("iotcore is not installed (extra `demo`)")
    port = credentials.services["ingest"].port
    folder = tmp_path / "broker"
    write_broker_files(folder, registry=registry, credentials=credentials, port=port)
    receipts = Receipts()
    kept = {seq: payload([reading(measured_at=f"2026-07-01T07:00:{seq:02}Z")], seq=seq) for seq in range(40)}
    broker = _spawn_broker(folder, port, program)
    try:
        wait_until(partial(_accepts, port))
        with place.serve(credentials.services["ingest"]):
            a = connect(credentials.gateways["gw-a"], on_message=receipts)
            _subscribe(a, STORED, wait_until)

            def send_what_has_no_receipt(upto: int) -> bool:
                if a.is_connected():
                    a.subscribe(STORED, qos=1)
                    for seq in sorted(set(range(upto)) - set(receipts.seqs)):
                        a.publish(TOPIC, kept[seq], qos=0)
                return receipts.seqs == list(range(upto))

            wait_until(partial(send_what_has_no_receipt, 20), within_s=30)
            broker.kill()
            broker.wait()
            wait_until(lambda: not _accepts(port))
            broker = _spawn_broker(folder, port, program)
            wait_until(partial(send_what_has_no_receipt, 40), within_s=30)
            wait_until(lambda: place.counts().readings == 40)
    finally:
        broker.terminate()
        broker.wait(20)
    assert verify_journal(place.journal).messages == 40
    (account,) = read_account(place.journal).gateways
    tally = account.tally
    assert (tally.readings, tally.quarantined_readings, tally.cloned_messages) == (40, 0, 0)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _spawn_broker(folder: Path, port: int, name: str) -> "subprocess.Popen[bytes]":
    program = (
        "import signal, sys, threading\n"
        "from pathlib import Path\n"
        "from ingest.broker import BrokerFiles, run_broker\n"
        "stop = threading.Event()\n"
        "signal.signal(signal.SIGTERM, lambda *_: stop.set())\n"
        "files = BrokerFiles(Path(sys.argv[1]), '127.0.0.1', int(sys.argv[2]))\n"
        "sys.exit(run_broker(files, stop, program=sys.argv[3]))\n"
    )
    return subprocess.Popen([sys.executable, "-c", program, str(folder), str(port), name])
