import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from paho.mqtt.client import Client, MQTTMessage

from gateway.contract.credentials import Credential, Credentials
from gateway.contract.registry import Registry
from ingest import broker as broker_module
from ingest.broker import MOSQUITTO, BrokerFiles, broker_name, run_broker, write_broker_files
from ingest.errors import PortTakenError

pytestmark = pytest.mark.integration
needs_mosquitto = pytest.mark.skipif(broker_name() != MOSQUITTO, reason="mosquitto is not installed")

Connect = Callable[..., Client]
WaitUntil = Callable[..., None]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_right_password_connects_and_a_wrong_one_does_not(
    ingest_broker: Credentials, connect: Connect
) -> None:
    gateway = ingest_broker.gateways["gw-a"]
    assert connect(gateway).is_connected()
    assert not connect(ingest_broker.gateways["gw-b"], password="wrong", expect=False).is_connected()
    stranger = Credential("nobody", "x", gateway.host, gateway.port)
    assert not connect(stranger, expect=False).is_connected()


def test_a_gateway_cannot_speak_for_another_nor_read_its_receipts(
    ingest_broker: Credentials, connect: Connect, wait_until: WaitUntil
) -> None:
    heard_by_ingest: list[str] = []
    heard_by_a: list[str] = []

    def note(topics: list[str]) -> Callable[..., None]:
        return lambda _client, _userdata, message: topics.append(_topic(message))

    ingest = connect(ingest_broker.services["ingest"], on_message=note(heard_by_ingest))
    a = connect(ingest_broker.gateways["gw-a"], on_message=note(heard_by_a))
    b = connect(ingest_broker.gateways["gw-b"])
    ingest.subscribe([("pools/#", 1), ("gateways/+/status", 1)])
    subscribed: list[object] = []
    a.on_subscribe = lambda *_: subscribed.append(True)
    a.subscribe(
        [("gateways/+/stored", 1), ("gateways/gw-b/stored", 1), ("gateways/gw-a/stored", 1), ("#", 1)]
    )
    wait_until(lambda: bool(subscribed))
    # A client's messages are delivered in order, so the last one tells that the others were decided before.
    ingest.publish("gateways/gw-b/stored", b"{}", qos=1)
    ingest.publish("gateways/gw-a/stored", b"{}", qos=1)
    wait_until(lambda: bool(heard_by_a))
    # Overlapping filters may give one message several times; never another gateway's.
    assert set(heard_by_a) == {"gateways/gw-a/stored"}
    # Some versions of Mosquitto also drop the connection of a client that may not publish; paho connects again.
    for topic in (
        "pools/south/gateways/gw-b/readings",
        "pools/north/gateways/gw-b/readings",
        "pools/south/gateways/gw-a/readings",
        "gateways/gw-b/status",
        "gateways/gw-a/stored",
        "gateways/gw-b/stored",
        "pools/north/gateways/gw-a/readings",
    ):
        a.publish(topic, b"{}", qos=1)
    wait_until(lambda: len(heard_by_ingest) >= 1)
    b.publish("gateways/gw-b/status", b"{}", qos=1)
    wait_until(lambda: len(heard_by_ingest) >= 2)
    assert heard_by_ingest == ["pools/north/gateways/gw-a/readings", "gateways/gw-b/status"]


def _topic(message: MQTTMessage) -> str:
    return message.topic


@needs_mosquitto
def test_a_taken_port_is_refused_and_its_holder_named(
    tmp_path: Path, registry: Registry, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "_PORT_FREE_WITHIN_S", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        files = write_broker_files(tmp_path, registry=registry, credentials=credentials, port=port)
        with pytest.raises(PortTakenError, match=rf"port {port} is held by .*\(process {os.getpid()}\)"):
            run_broker(files, threading.Event())


@needs_mosquitto
def test_a_broker_that_dies_is_reported_with_a_code_that_is_not_0(
    tmp_path: Path,
    registry: Registry,
    credentials: Credentials,
    free_port: int,
    wait_until: WaitUntil,
) -> None:
    files = write_broker_files(tmp_path, registry=registry, credentials=credentials, port=free_port)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_broker(files, threading.Event())))
    thread.start()
    wait_until(lambda: _listens(free_port))
    _child_of(os.getpid(), files).send_signal(signal.SIGKILL)
    thread.join(10)
    assert codes == [-signal.SIGKILL]


@needs_mosquitto
def test_a_killed_parent_leaves_no_broker_behind(
    tmp_path: Path,
    registry: Registry,
    credentials: Credentials,
    free_port: int,
    wait_until: WaitUntil,
) -> None:
    files = write_broker_files(tmp_path, registry=registry, credentials=credentials, port=free_port)
    program = (
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from ingest.broker import BrokerFiles, run_broker\n"
        "run_broker(BrokerFiles(Path(sys.argv[1]), '127.0.0.1', int(sys.argv[2])), threading.Event())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(files.folder), str(free_port)])
    try:
        wait_until(lambda: _listens(free_port))
        child = _child_of(parent.pid, files)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    wait_until(lambda: not _listens(free_port))


def _child_of(pid: int, files: BrokerFiles) -> psutil.Process:
    (child,) = [
        process
        for process in psutil.Process(pid).children()
        if str(files.mosquitto_conf) in process.cmdline()
    ]
    return child
