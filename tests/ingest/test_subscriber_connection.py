"""The connection to the broker: kept alive, given up, made again, encrypted, in both versions of MQTT, never flooded."""

import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from structlog.testing import capture_logs

from gateway.contract.credentials import Credential, Credentials
from gateway.contract.registry import Registry
from gateway.contract.tls import tls_context
from ingest.broker import write_broker_files
from ingest.incoming import Incoming
from ingest.pki_files import PkiFiles
from ingest.subscriber import MqttSubscriber
from ingest.subscriber_link import MQTT_3, MQTT_5, Link
from poolwatch.clock import system_clock_ms

pytestmark = pytest.mark.integration

TOPIC = "pools/north/gateways/gw-a/readings"
KEEPALIVE_S = 2
Connect = Callable[..., Client]
WaitUntil = Callable[..., None]


class WatchedLink(Link):
    """A connection that says which version it asked for, and how much it read."""

    made: "list[WatchedLink]" = []  # noqa: RUF012 - a fixture makes it anew for each test
    read_bytes = 0

    def __init__(self, credential: Any, session: Any, protocol: MQTTProtocolVersion, **rest: Any) -> None:
        super().__init__(credential, session, protocol, **rest)
        self.protocol = protocol
        self.made.append(self)

    def fill(self) -> int:
        read_bytes = super().fill()
        self.read_bytes += read_bytes
        return read_bytes

    def cut(self) -> None:
        """End it as a network does."""
        with socket.socket(fileno=os.dup(self.socket.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[WatchedLink]:
    WatchedLink.made = []
    monkeypatch.setattr("ingest.subscriber.Link", WatchedLink)
    return WatchedLink.made


@pytest.fixture
def short_keepalive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.subscriber_link._KEEPALIVE_S", KEEPALIVE_S)


@contextmanager
def _subscribed(credential: Credential) -> Iterator[MqttSubscriber]:
    subscriber = MqttSubscriber(credential, clock=lambda: 42)
    subscriber.start()
    try:
        yield subscriber
    finally:
        subscriber.close()


def _take(subscriber: MqttSubscriber, count: int, wait_until: WaitUntil) -> list[Incoming]:
    """Readings, acknowledged, until there are `count`."""
    taken: list[Incoming] = []

    def enough() -> bool:
        some = subscriber.take(500, wait_s=0.1)
        subscriber.acknowledge(some)
        taken.extend(one for one in some if one.topic == TOPIC)
        return len(taken) >= count

    wait_until(enough, within_s=60.0)
    return taken


def _await_subscription(subscriber: MqttSubscriber, client: Client, wait_until: WaitUntil) -> None:
    wait_until(lambda: subscriber.is_connected)
    client.publish("gateways/gw-a/status", b"{}", qos=1, retain=True)
    wait_until(lambda: subscriber.acknowledge(subscriber.take(1, wait_s=0.1)) == 1)


def _over_several_keepalives() -> Iterator[None]:
    end_s = time.monotonic() + 3.5 * KEEPALIVE_S
    while time.monotonic() < end_s:
        yield


# A connection that should stay


@pytest.mark.usefixtures("short_keepalive")
def test_messages_alone_keep_the_connection_alive(
    ingest_broker: Credentials, connect: Connect, wait_until: WaitUntil
) -> None:
    a = connect(ingest_broker.gateways["gw-a"])
    with _subscribed(ingest_broker.services["ingest"]) as subscriber:
        _await_subscription(subscriber, a, wait_until)
        for _ in _over_several_keepalives():
            a.publish(TOPIC, b"1", qos=1)
            (one,) = _take(subscriber, 1, wait_until)
            assert one.connection == 0
        assert subscriber.is_connected


@pytest.mark.usefixtures("short_keepalive")
@pytest.mark.parametrize("somebody_takes", [True, False])
def test_a_silent_connection_stays(
    ingest_broker: Credentials, connect: Connect, wait_until: WaitUntil, *, somebody_takes: bool
) -> None:
    a = connect(ingest_broker.gateways["gw-a"])
    with _subscribed(ingest_broker.services["ingest"]) as subscriber:
        _await_subscription(subscriber, a, wait_until)
        for _ in _over_several_keepalives():
            assert subscriber.is_connected
            if somebody_takes:
                assert subscriber.take(10, wait_s=0.1) == []
            else:
                time.sleep(0.1)
        a.publish(TOPIC, b"1", qos=1)
        assert _take(subscriber, 1, wait_until)[0].connection == 0


@pytest.mark.usefixtures("short_keepalive")
def test_nobody_takes_during_a_flood_and_nothing_is_lost_and_little_is_held(
    ingest_broker: Credentials,
    connect: Connect,
    wait_until: WaitUntil,
    links: list[WatchedLink],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = 512 * 1024
    monkeypatch.setattr("ingest.subscriber._HELD_BYTES", limit)
    a = connect(ingest_broker.gateways["gw-a"])
    with _subscribed(ingest_broker.services["ingest"]) as subscriber:
        _await_subscription(subscriber, a, wait_until)
        before = links[0].read_bytes
        sent = [number.to_bytes(4) + bytes(20_000) for number in range(1000)]
        for one in [a.publish(TOPIC, body, qos=1) for body in sent]:
            one.wait_for_publish(60)
        wait_until(lambda: links[0].read_bytes - before >= limit)
        for _ in _over_several_keepalives():
            assert subscriber.is_connected
            # One chunk may go beyond.
            assert links[0].read_bytes - before < limit + 128 * 1024
            time.sleep(0.1)
        taken = _take(subscriber, len(sent), wait_until)
        assert [one.payload for one in taken] == sent
        assert {one.connection for one in taken} == {0}


# A connection that should end


@pytest.mark.usefixtures("short_keepalive")
@pytest.mark.parametrize("somebody_takes", [True, False])
def test_a_broker_that_hangs_is_left_and_found_again(
    tmp_path: Path,
    registry: Registry,
    credentials: Credentials,
    connect: Connect,
    wait_until: WaitUntil,
    *,
    somebody_takes: bool,
) -> None:
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed")
    port = credentials.services["ingest"].port
    files = write_broker_files(tmp_path / "broker", registry=registry, credentials=credentials, port=port)
    broker = subprocess.Popen([program, "-c", str(files.mosquitto_conf)], stderr=subprocess.DEVNULL)
    try:
        with _subscribed(credentials.services["ingest"]) as subscriber:
            wait_until(lambda: subscriber.is_connected)
            broker.send_signal(signal.SIGSTOP)

            def is_left() -> bool:
                if somebody_takes:
                    assert subscriber.take(10, wait_s=0.1) == []
                return not subscriber.is_connected

            wait_until(is_left)
            broker.send_signal(signal.SIGCONT)
            _await_subscription(subscriber, connect(credentials.gateways["gw-a"]), wait_until)
    finally:
        broker.kill()
        broker.wait()


ACCEPTED_5 = b"\x20\x03\x00\x00\x00"


class ScriptedBroker:
    """Sends what it is told to each client in turn, as soon as it has introduced itself."""

    def __init__(self, scripts: list[bytes]) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.versions: list[int] = []
        self._scripts = scripts
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for number, script in enumerate(self._scripts):
            client, _ = self._listening.accept()
            with client:
                client.settimeout(20)
                introduction = client.recv(4096)
                self.versions.append(introduction[introduction.index(b"MQTT") + 4])
                client.sendall(script)
                is_last = number == len(self._scripts) - 1
                # A malformed packet should make the client go.
                while is_last or script.startswith(ACCEPTED_5):
                    try:
                        if not client.recv(4096):
                            break
                    except ConnectionError:
                        break

    def close(self) -> None:
        self._thread.join(30)
        self._listening.close()
        assert not self._thread.is_alive()


def _publication(payload: bytes, first: int = 0x32) -> bytes:
    body = len(TOPIC).to_bytes(2) + TOPIC.encode() + b"\x00\x01\x00" + payload
    return bytes((first, len(body))) + body


@pytest.mark.parametrize(
    "malformed",
    [
        pytest.param(b"\x32\x80\x80\x80\x80\x01", id="length"),
        pytest.param(_publication(b"", 0x34), id="qos-2"),
        pytest.param(b"\x32\x05\x00\x01t\x00\x00", id="no-packet-id"),
        pytest.param(b"\x40\x01\x00", id="short-acknowledgement"),
        pytest.param(b"\x90\x01\x00", id="short-suback"),
        pytest.param(b"\x90\x04\x00\x01\x00\x05", id="unknown-reason"),
        pytest.param(b"\xb0\x03\x00\x01\x09", id="short-unsuback"),
        pytest.param(b"\x20\x06\x00\x00\x03\xfe\x00\x00", id="unknown-property"),
        pytest.param(b"\xe0\x01\x55", id="unknown-farewell"),
        pytest.param(b"\x00\x00", id="unknown-packet"),
    ],
)
def test_a_malformed_packet_ends_the_connection_and_another_is_made(
    malformed: bytes, wait_until: WaitUntil
) -> None:
    with closing(ScriptedBroker([ACCEPTED_5 + malformed, ACCEPTED_5 + _publication(b"good")])) as broker:
        credential = Credential("ingest", "secret", "127.0.0.1", broker.port)
        with _subscribed(credential) as subscriber:
            (one,) = _take(subscriber, 1, wait_until)
            assert (one.payload, one.connection) == (b"good", 1)


def test_a_session_that_another_program_goes_on_with_is_named(wait_until: WaitUntil) -> None:
    scripts = [ACCEPTED_5 + b"\xe0\x01\x8e", ACCEPTED_5]
    with closing(ScriptedBroker(scripts)) as broker, capture_logs() as logs:
        with _subscribed(Credential("ingest", "secret", "127.0.0.1", broker.port)):
            wait_until(lambda: len(broker.versions) == len(scripts))
        assert [one["client_id"] for one in logs if "each ingest may run once" in one["event"]] == [
            "poolwatch-ingest"
        ]


@pytest.mark.parametrize(
    "answer", [pytest.param(b"\x20\x02\x00\x01", id="refused"), pytest.param(b"", id="closed")]
)
def test_a_broker_that_refuses_mqtt_5_is_asked_in_3_1_1(answer: bytes, wait_until: WaitUntil) -> None:
    with closing(ScriptedBroker([answer, b"\x20\x02\x00\x00"])) as broker:
        credential = Credential("ingest", "secret", "127.0.0.1", broker.port)
        with _subscribed(credential) as subscriber:
            wait_until(lambda: subscriber.is_connected)
        assert broker.versions == [5, 4]


def test_a_broker_without_mqtt_5_is_asked_once_and_not_at_each_connection(
    embedded_broker: Credentials, connect: Connect, wait_until: WaitUntil, links: list[WatchedLink]
) -> None:
    a = connect(embedded_broker.gateways["gw-a"])
    with _subscribed(embedded_broker.services["ingest"]) as subscriber:
        wait_until(lambda: subscriber.is_connected)
        assert [link.protocol for link in links] == [MQTT_5, MQTT_3]
        for connection in (2, 3):
            links[-1].cut()
            wait_until(lambda number=connection: len(links) == number + 1 and subscriber.is_connected)
            assert links[-1].protocol == MQTT_3

        def comes() -> bool:
            a.publish(TOPIC, b"1", qos=1)
            some = subscriber.take(10, wait_s=0.1)
            subscriber.acknowledge(some)
            return any(one.topic == TOPIC and one.connection == 3 for one in some)

        wait_until(comes)


# Encrypted


def test_messages_of_all_sizes_come_byte_for_byte_over_tls(
    tmp_path: Path, registry: Registry, credentials: Credentials, wait_until: WaitUntil
) -> None:
    pytest.importorskip("cryptography", reason="certificates need the extra `pki`")
    from ingest.broker import MOSQUITTO, broker_name, run_broker
    from ingest.pki import LOOPBACK_NAMES, create_pki

    if broker_name() != MOSQUITTO:
        pytest.skip("mosquitto is not installed")
    create_pki(tmp_path / "pki", names=list(LOOPBACK_NAMES), now_ms=system_clock_ms())
    pki = PkiFiles(tmp_path / "pki")
    ingest, gateway = (
        msgspec.structs.replace(one, tls=True, ca_file=str(place))
        for one, place in (
            (credentials.services["ingest"], tmp_path / "late.crt"),
            (credentials.gateways["gw-a"], pki.bundle),
        )
    )
    files = write_broker_files(
        tmp_path / "broker",
        registry=registry,
        credentials=credentials,
        port=ingest.port,
        server_pem=pki.server,
    )
    stop = threading.Event()
    thread = threading.Thread(target=run_broker, args=(files, stop))
    thread.start()
    client = Client(CallbackAPIVersion.VERSION2, client_id=gateway.username)
    try:
        with _subscribed(ingest) as subscriber:
            # The authority's file comes later: until then it says so, and tries again.
            assert subscriber.take(1, wait_s=0.3) == []
            assert not subscriber.is_connected
            shutil.copy(pki.bundle, tmp_path / "late.crt")
            wait_until(lambda: subscriber.is_connected)
            context = tls_context(gateway)
            assert context is not None
            client.tls_set_context(context)
            client.username_pw_set(gateway.username, gateway.password)
            client.connect(gateway.host, gateway.port)
            client.loop_start()
            _await_subscription(subscriber, client, wait_until)
            chance = random.Random(5)
            sent = [
                chance.randbytes(chance.choice([0, 1, 100, 350, 16_380, chance.randint(0, 61_440)]))
                for _ in range(2000)
            ]
            for body in sent:
                client.publish(TOPIC, body, qos=1)
            assert [one.payload for one in _take(subscriber, len(sent), wait_until)] == sent
    finally:
        client.disconnect()
        client.loop_stop()
        stop.set()
        thread.join(20)
