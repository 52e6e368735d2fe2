"""Who may do what, asked of a real Mosquitto: MQTT 5 tells a refused publication from a taken one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.contract.credentials import Credential, Credentials

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., None]
READINGS_A, READINGS_B = "pools/north/gateways/gw-a/readings", "pools/south/gateways/gw-b/readings"


@dataclass
class Peer:
    """A client of MQTT 5 and what it saw."""

    client: Client
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    acknowledged: dict[int, bool] = field(default_factory=dict)
    granted: list[int] = field(default_factory=list)


@pytest.fixture
def credentials(credentials: Credentials) -> Credentials:
    ingest = credentials.services["ingest"]
    more = {
        name: msgspec.structs.replace(ingest, username=f"poolwatch-{name}") for name in ("ingest-2", "other")
    }
    idle = msgspec.structs.replace(credentials.gateways["gw-a"], username="gw-idle")
    return Credentials(credentials.gateways | {"gw-idle": idle}, credentials.services | more)


@pytest.fixture
def join(ingest_broker: Credentials, wait_until: WaitUntil) -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def build(name: str, *, client_id: str | None = None, will: str | None = None) -> Peer:
        credential: Credential = (ingest_broker.gateways | ingest_broker.services)[name]
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or credential.username,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        peer = Peer(client)
        client.username_pw_set(credential.username, credential.password)
        if will is not None:
            client.will_set(will, b"will", qos=1)

        def on_publish(_client: Any, _userdata: Any, mid: int, reason: Any, _properties: Any) -> None:
            peer.acknowledged[mid] = not reason.is_failure

        client.on_publish = on_publish
        client.on_message = lambda _client, _userdata, message: peer.heard.append(
            (message.topic, bytes(message.payload))
        )
        client.on_subscribe = lambda _client, _userdata, mid, _reasons, _properties: peer.granted.append(mid)
        client.connect(credential.host, credential.port)
        client.loop_start()
        peers.append(peer)
        wait_until(client.is_connected)
        return peer

    yield build
    for peer in peers:
        peer.client.disconnect()
        peer.client.loop_stop()


@pytest.fixture
def publish(wait_until: WaitUntil) -> Callable[..., bool]:
    """Whether the broker took a publication."""

    def send(peer: Peer, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> bool:
        mid = peer.client.publish(topic, payload, qos=1, retain=retain).mid
        wait_until(lambda: mid in peer.acknowledged or not peer.client.is_connected())
        # Mosquitto 2.0.11 says "not authorized" and drops the connection too.
        return peer.acknowledged.get(mid, False)

    return send


@pytest.mark.parametrize(
    ("who", "topic", "allowed"),
    [
        ("gw-a", READINGS_A, True),
        ("gw-a", "pools/north/gateways/gw-a/logbook", True),
        ("gw-a", "gateways/gw-a/status", True),
        ("gw-a", READINGS_B, False),
        ("gw-a", "pools/north/gateways/gw-b/readings", False),
        ("gw-a", "pools/south/gateways/gw-a/readings", False),
        ("gw-a", "pools/north/gateways/gw-a/readings/more", False),
        ("gw-a", "pools/north/gateways/gw-a/other", False),
        ("gw-a", "gateways/gw-b/status", False),
        ("gw-a", "gateways/gw-a/stored", False),
        ("gw-a", "gateways/gw-b/stored", False),
        ("gw-a", "$SYS/broker/version", False),
        ("gw-a", "$CONTROL/dynamic-security/v1", False),
        ("gw-a", "anything", False),
        ("gw-b", READINGS_B, True),
        ("gw-idle", "gateways/gw-idle/status", False),
        ("gw-idle", READINGS_A, False),
        ("ingest", "gateways/gw-a/stored", True),
        ("ingest-2", "gateways/gw-b/stored", True),
        ("ingest", READINGS_A, False),
        ("ingest", "gateways/gw-a/status", False),
        ("ingest", "anything", False),
        ("other", "gateways/gw-a/stored", False),
        ("other", READINGS_A, False),
    ],
)
def test_who_may_write_what(
    join: Callable[..., Peer], publish: Callable[..., bool], who: str, topic: str, *, allowed: bool
) -> None:
    assert publish(join(who), topic) is allowed
    # Retained is no way around.
    assert publish(join(who), topic, retain=True) is allowed


@pytest.mark.parametrize(
    ("who", "filters", "heard"),
    [
        ("gw-a", ["#"], {"gateways/gw-a/stored"}),
        ("gw-a", ["+/+/+/+/+"], set()),
        ("gw-a", ["pools/+/gateways/+/readings", "pools/#"], set()),
        ("gw-a", [READINGS_A, READINGS_B], set()),
        ("gw-a", ["gateways/+/stored", "gateways/gw-b/stored"], {"gateways/gw-a/stored"}),
        ("gw-a", ["gateways/+/status", "gateways/gw-a/status"], set()),
        ("gw-a", ["$SYS/#", "$SYS/broker/version"], set()),
        ("gw-idle", ["#", "gateways/+/stored", "$SYS/#"], set()),
        ("other", ["#", "$SYS/#"], set()),
        ("ingest", ["#"], {READINGS_A, READINGS_B, "gateways/gw-a/status"}),
        ("ingest", ["$SYS/#"], set()),
        ("ingest-2", ["$share/secret/pools/+/gateways/+/readings"], {READINGS_A, READINGS_B}),
    ],
)
def test_who_may_read_what(
    join: Callable[..., Peer],
    publish: Callable[..., bool],
    wait_until: WaitUntil,
    who: str,
    filters: list[str],
    heard: set[str],
) -> None:
    a, b, ingest = join("gw-a"), join("gw-b"), join("ingest")
    reader = {"gw-a": a, "ingest": ingest}.get(who) or join(who)
    asked = [reader.client.subscribe(name, 1)[1] for name in filters]
    wait_until(lambda: set(asked) <= set(reader.granted))
    for peer, topic in (
        (a, READINGS_A),
        (b, READINGS_B),
        (a, "gateways/gw-a/status"),
        (ingest, "gateways/gw-a/stored"),
        (ingest, "gateways/gw-b/stored"),
    ):
        assert publish(peer, topic, retain=True)
    wait_until(lambda: {topic for topic, _ in reader.heard} >= heard)
    # Its own round trip comes after everything that was decided before.
    asked = [reader.client.subscribe(name, 1)[1] for name in filters]  # retained messages are no way around
    wait_until(lambda: set(asked) <= set(reader.granted))
    reader.client.disconnect()
    wait_until(lambda: not reader.client.is_connected())
    assert {topic for topic, _ in reader.heard} == heard


def test_a_will_on_a_foreign_topic_is_not_sent(
    join: Callable[..., Peer], publish: Callable[..., bool], wait_until: WaitUntil
) -> None:
    ingest = join("ingest")
    ingest.client.subscribe([("pools/+/gateways/+/readings", 1), ("gateways/+/status", 1)])
    wait_until(lambda: bool(ingest.granted))
    for will in (READINGS_A, "gateways/gw-a/status", "gateways/gw-b/status"):
        cut = join("gw-b", will=will)
        open_socket: Any = cut.client.socket()
        open_socket.shutdown(2)
        wait_until(lambda cut=cut: not cut.client.is_connected())
    wait_until(lambda: bool(ingest.heard))
    assert publish(join("gw-a"), READINGS_A)
    wait_until(lambda: len(ingest.heard) >= 2)
    assert ingest.heard == [("gateways/gw-b/status", b"will"), (READINGS_A, b"{}")]


def test_a_client_id_of_another_takes_nothing_over(
    join: Callable[..., Peer], publish: Callable[..., bool]
) -> None:
    ingest, b = join("ingest"), join("gw-b")
    for client_id in ("gw-b", "poolwatch-ingest"):
        assert not publish(join("gw-a", client_id=client_id), READINGS_B)
    assert ingest.client.is_connected()
    assert publish(b, READINGS_B)


def test_who_knows_the_name_of_a_shared_group_takes_messages_from_it_and_else_not(
    join: Callable[..., Peer], publish: Callable[..., bool], wait_until: WaitUntil
) -> None:
    """Mosquitto lets anybody subscribe and checks at delivery: the share of one who may not read is lost."""
    ingest, thief, b = join("ingest-2"), join("gw-a"), join("gw-b")
    for peer, group in ((ingest, "secret"), (thief, "ingest")):
        peer.client.subscribe(f"$share/{group}/pools/+/gateways/+/readings", 1)
        wait_until(lambda peer=peer: bool(peer.granted))
    for number in range(10):
        assert publish(b, READINGS_B, str(number).encode())
    wait_until(lambda: len(ingest.heard) == 10)
    thief.client.subscribe("$share/secret/pools/+/gateways/+/readings", 1)
    wait_until(lambda: len(thief.granted) == 2)
    for number in range(10):
        assert publish(b, READINGS_B, str(number).encode())
    wait_until(lambda: len(ingest.heard) >= 15)
    assert thief.heard == []


def test_the_list_follows_the_folder(tmp_path: Path, ingest_broker: Credentials) -> None:
    text = (tmp_path / "broker" / "acl").read_text()
    assert "gw-idle" not in text
    assert "poolwatch-other" not in text
    assert text.count("topic write gateways/+/stored") == len(
        [name for name in ingest_broker.services if name.startswith("ingest")]
    )
