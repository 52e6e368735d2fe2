"""Several ingests on one subscription of a real Mosquitto: nothing twice, nothing lost, and one that is gone is replaced."""

import json
import secrets
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.contract.credentials import Credential, Credentials
from ingest.subscriber import MqttSubscriber
from ingest.subscriber_share import CLIENT_ID, ShareMember

pytestmark = pytest.mark.integration

TOPIC = "pools/north/gateways/gw-a/readings"
GROUP = "g-" + secrets.token_hex(8)
Connect = Callable[..., Client]
WaitUntil = Callable[..., None]

#: A member that acknowledges some messages, says which, holds all others, and waits for its end.
HOLDER = """
import json, sys
from gateway.contract.credentials import Credential
from ingest.subscriber import MqttSubscriber
from ingest.subscriber_share import ShareMember
given = json.loads(sys.argv[1])
member = MqttSubscriber(
    Credential(*given["credential"]), clock=lambda: 42, member=ShareMember("a", group=given["group"])
)
member.start()
left, held = given["acknowledge"], 0
while True:
    taken = member.take(max(1, left), wait_s=1.0)
    if left:
        member.acknowledge(taken)
        left -= len(taken)
    else:
        held += len(taken)
    # What is acknowledged is on its way to the network when `acknowledge` returns.
    print(json.dumps([member.is_connected, held, [one.payload.decode() for one in taken if not held]]), flush=True)
"""


@pytest.fixture
def credentials(free_port: int) -> Credentials:
    def credential(name: str, group: str | None = None) -> Credential:
        return Credential(name, secrets.token_urlsafe(12), "127.0.0.1", free_port, share_group=group)

    return Credentials(
        gateways={name: credential(name) for name in ("gw-a", "gw-b")},
        services={
            "ingest": credential("poolwatch-ingest"),
            "ingest-a": credential("poolwatch-ingest-a", GROUP),
            "ingest-b": credential("poolwatch-ingest-b", GROUP),
        },
    )


class Taker:
    """A member that takes, and acknowledges at once, in a thread of its own."""

    def __init__(self, name: str, credentials: Credentials, *, is_retiring: bool = False) -> None:
        self.subscriber = MqttSubscriber(
            credentials.services[f"ingest-{name}"],
            clock=lambda: 42,
            member=ShareMember(name, group=GROUP),
            is_retiring=is_retiring,
        )
        self.payloads: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            taken = self.subscriber.take(3000, wait_s=0.05)
            assert self.subscriber.acknowledge(taken) == len(taken)
            self.payloads += [one.payload.decode() for one in taken if one.topic == TOPIC]

    @contextmanager
    def serve(self) -> Iterator["Taker"]:
        self.subscriber.start()
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(20)
            self.subscriber.close()


def _await_subscription(takers: list[Taker], a: Client, wait_until: WaitUntil) -> None:
    """Send until each has got something: both are members then."""

    def sent() -> bool:
        a.publish(TOPIC, b"hello", qos=1).wait_for_publish(10)
        return all("hello" in taker.payloads for taker in takers)

    wait_until(sent)


def _publish(client: Client, numbers: range) -> list[str]:
    sent = [client.publish(TOPIC, str(number).encode(), qos=1) for number in numbers]
    for one in sent:
        one.wait_for_publish(30)
    return [str(number) for number in numbers]


def _numbers(*payloads: list[str]) -> Counter[str]:
    return Counter(one for some in payloads for one in some if one != "hello")


def _session_present(credential: Credential, wait_until: WaitUntil) -> bool:
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=credential.username, protocol=MQTTProtocolVersion.MQTTv5
    )
    client.username_pw_set(credential.username, credential.password)
    present: list[bool] = []

    def note(_client: Client, _userdata: Any, flags: Any, reason: Any, _properties: Any) -> None:
        assert not reason.is_failure
        present.append(flags.session_present)

    client.on_connect = note
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own
    properties.SessionExpiryInterval = 3600
    client.connect(credential.host, credential.port, clean_start=False, properties=properties)
    client.loop_start()
    wait_until(lambda: bool(present))
    client.disconnect()
    client.loop_stop()
    return present[0]


def test_two_members_get_everything_once(
    ingest_broker: Credentials, connect: Connect, wait_until: WaitUntil
) -> None:
    a = connect(ingest_broker.gateways["gw-a"])
    with Taker("a", ingest_broker).serve() as first, Taker("b", ingest_broker).serve() as second:
        _await_subscription([first, second], a, wait_until)
        sent = _publish(a, range(4000))
        wait_until(lambda: _numbers(first.payloads, second.payloads).total() >= len(sent))
    assert _numbers(first.payloads, second.payloads) == Counter(sent)
    assert min(len(first.payloads), len(second.payloads)) > len(sent) / 10


def test_a_member_added_under_load_shares_without_loss(
    ingest_broker: Credentials, connect: Connect, wait_until: WaitUntil
) -> None:
    a = connect(ingest_broker.gateways["gw-a"])
    more = threading.Event()
    sent: list[str] = []

    def load() -> None:
        while not more.is_set():
            sent.extend(_publish(a, range(len(sent), len(sent) + 200)))

    with Taker("a", ingest_broker).serve() as first:
        _await_subscription([first], a, wait_until)
        thread = threading.Thread(target=load)
        thread.start()
        try:
            wait_until(lambda: len(first.payloads) > 500)
            with Taker("b", ingest_broker).serve() as second:
                wait_until(lambda: len(second.payloads) > 500)
                more.set()
                thread.join(30)
                wait_until(lambda: _numbers(first.payloads, second.payloads).total() >= len(sent))
        finally:
            more.set()
            thread.join(30)
    assert _numbers(first.payloads, second.payloads) == Counter(sent)


def test_what_a_killed_member_held_is_drained_and_its_session_ends(
    ingest_broker: Credentials, connect: Connect, wait_until: WaitUntil
) -> None:
    credential = ingest_broker.services["ingest-a"]
    a = connect(ingest_broker.gateways["gw-a"])
    given = {
        "credential": [credential.username, credential.password, credential.host, credential.port],
        "group": GROUP,
        "acknowledge": 50,
    }
    said: list[Any] = []
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, json.dumps(given)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    output = holder.stdout

    def listen() -> None:
        said.extend(
            msgspec.json.decode(line) for line in output if line.startswith("[")
        )  # the log is there too

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        wait_until(lambda: any(connected for connected, _, _ in said))
        with Taker("b", ingest_broker).serve() as second:
            _await_subscription([second], a, wait_until)
            sent = _publish(a, range(3000))
            wait_until(lambda: any(held > 200 for _, held, _ in said))
            holder.kill()
            holder.wait()
            listener.join(20)
            # More comes while it is away: the broker adds to its session too.
            sent += _publish(a, range(3000, 4000))
            by_a = [one for _, _, acknowledged in said for one in acknowledged]
            assert _session_present_after_retiring(ingest_broker, second, by_a, sent, wait_until) is False
    finally:
        holder.kill()
        holder.wait()
        listener.join(20)
        output.close()


def _session_present_after_retiring(
    credentials: Credentials, second: Taker, by_a: list[str], sent: list[str], wait_until: WaitUntil
) -> bool:
    with Taker("a", credentials, is_retiring=True).serve() as retiring:
        wait_until(lambda: retiring.subscriber.is_drained)
        drained = list(retiring.payloads)
        assert _numbers(drained).total() > 200
        wait_until(lambda: _numbers(by_a, second.payloads, drained).keys() >= set(sent))
        # Nothing new is added to it, and nothing goes astray.
    assert retiring.payloads == drained
    assert _numbers(by_a, second.payloads, drained) == Counter(sent)
    return _session_present(credentials.services["ingest-a"], wait_until)


def test_a_session_is_not_drained_while_something_taken_is_unacknowledged(
    ingest_broker: Credentials, connect: Connect, wait_until: WaitUntil
) -> None:
    credential = ingest_broker.services["ingest-a"]
    a = connect(ingest_broker.gateways["gw-a"])
    with Taker("a", ingest_broker).serve() as first:
        _await_subscription([first], a, wait_until)
    _publish(a, range(20))
    retiring = MqttSubscriber(
        credential, clock=lambda: 42, member=ShareMember("a", group=GROUP), is_retiring=True
    )
    retiring.start()
    try:
        wait_until(lambda: retiring.is_connected)
        taken = retiring.take(100, wait_s=5.0)
        while len(taken) < 20:
            more = retiring.take(100, wait_s=5.0)
            assert more
            taken += more
        assert retiring.take(100, wait_s=4.0) == []
        assert not retiring.is_drained
    finally:
        # Not drained: the session stays.
        retiring.close()
    with Taker("a", ingest_broker, is_retiring=True).serve() as again:
        wait_until(lambda: again.subscriber.is_drained)
    assert _numbers(again.payloads) == Counter(str(number) for number in range(20))
    assert not _session_present(credential, wait_until)


@pytest.mark.parametrize("name", ["", "A", "-a", "a/b", "a+", "x" * 64, "a\n"])
def test_a_name_that_cannot_stand_in_a_client_id_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an ingest"):
        ShareMember(name)


def test_a_member_has_a_session_of_its_own_and_the_groups_filters() -> None:
    session = ShareMember("a", group="secret").session
    assert session.client_id == f"{CLIENT_ID}-a"
    assert all(name.startswith("$share/secret/") for name in session.filters)
