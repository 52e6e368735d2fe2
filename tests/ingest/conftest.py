"""A small registry, messages for it, and real brokers."""

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.contract.credentials import Credential, Credentials
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from gateway.contract.times import format_timestamp
from ingest.broker import IOTCORE, MOSQUITTO, broker_name, run_broker, write_broker_files

REGISTRY_TEXT = """
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
interval_s = 60
[[pools.north.sensors]]
id = "ph-1"
quantity = "ph"
place = "return"
interval_s = 60
from = 2026-01-01T00:00:00Z
until = 2026-07-01T12:00:00Z
[pools.south]
venue = "hall"
name_zh = "南池"
name_en = "South"
kind = "outdoor"
opening_hours = "Mo-Su 06:00-22:00"
[[pools.south.sensors]]
id = "fc-9"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 60
[gateways.gw-a]
pools = ["north"]
[gateways.gw-b]
pools = ["south"]
"""
#: 2026-07-01T08:00:00Z
NOON_MS = 1_782_892_800_000


@pytest.fixture
def registry_text() -> str:
    return REGISTRY_TEXT


@pytest.fixture
def registry() -> Registry:
    return parse_registry(REGISTRY_TEXT)


@pytest.fixture
def now_ms() -> int:
    return NOON_MS


@pytest.fixture
def reading() -> Callable[..., dict[str, Any]]:
    """One reading of free chlorine of pool north as JSON; keywords replace its fields."""

    def build(**changed: Any) -> dict[str, Any]:
        good = {
            "sensor_id": "fc-1",
            "quantity": "free_chlorine_mg_l",
            "measured_at": format_timestamp(NOON_MS),
            "value": 0.52,
        }
        return good | changed

    return build


@pytest.fixture
def payload() -> Callable[..., bytes]:
    """A message's bytes."""

    def build(
        items: list[dict[str, Any]],
        *,
        seq: int = 0,
        gateway_id: str = "gw-a",
        boot_id: str = "b1",
        name: str = "readings",
    ) -> bytes:
        envelope = {"schema": 1, "gateway_id": gateway_id, "boot_id": boot_id, "seq": seq, name: items}
        return json.dumps(envelope).encode()

    return build


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Return when a condition holds; fail after a deadline."""

    def wait(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_s} s"
            time.sleep(0.02)

    return wait


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def credentials(free_port: int) -> Credentials:
    def credential(name: str) -> Credential:
        return Credential(name, secrets.token_urlsafe(12), "127.0.0.1", free_port)

    return Credentials(
        gateways={name: credential(name) for name in ("gw-a", "gw-b")},
        services={"ingest": credential("poolwatch-ingest")},
    )


def _serve(
    folder: Path, registry: Registry, credentials: Credentials, program: str, wait: Callable[..., None]
) -> Iterator[Credentials]:
    port = credentials.services["ingest"].port
    files = write_broker_files(folder, registry=registry, credentials=credentials, port=port)
    stop = threading.Event()
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_broker(files, stop, program=program)))
    thread.start()
    try:
        wait(lambda: _accepts(port) or not thread.is_alive())
        assert thread.is_alive()
        yield credentials
    finally:
        stop.set()
        thread.join(20)
    assert codes == [0]


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@pytest.fixture
def ingest_broker(
    tmp_path: Path, registry: Registry, credentials: Credentials, wait_until: Callable[..., None]
) -> Iterator[Credentials]:
    """A real Mosquitto with our configuration; gives the credentials for it."""
    if broker_name() != MOSQUITTO:
        pytest.skip("mosquitto is not installed")
    yield from _serve(tmp_path / "broker", registry, credentials, MOSQUITTO, wait_until)


@pytest.fixture
def embedded_broker(
    tmp_path: Path, registry: Registry, credentials: Credentials, wait_until: Callable[..., None]
) -> Iterator[Credentials]:
    """A real iotcore with our configuration."""
    if find_spec("iotcore") is None:
        pytest.skip("iotcore is not installed (extra `demo`)")
    yield from _serve(tmp_path / "broker", registry, credentials, IOTCORE, wait_until)


@pytest.fixture
def connect(wait_until: Callable[..., None]) -> Iterator[Callable[..., Client]]:
    """Clients of the broker, connected; `password` and `on_message` may be given."""
    clients: list[Client] = []

    def build(
        credential: Credential,
        *,
        password: str | None = None,
        on_message: Callable[..., None] | None = None,
        clean: bool = True,
        expect: bool = True,
    ) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=credential.username,
            clean_session=clean,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        client.username_pw_set(credential.username, password or credential.password)
        refused: list[Any] = []

        def note(_client: Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                refused.append(reason)

        client.on_connect = note
        client.on_message = on_message
        client.connect(credential.host, credential.port)
        client.loop_start()
        clients.append(client)
        wait_until(lambda: client.is_connected() if expect else bool(refused))
        return client

    yield build
    for client in clients:
        client.disconnect()
        client.loop_stop()
