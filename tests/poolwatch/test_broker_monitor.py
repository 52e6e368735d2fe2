"""What the broker's monitor tells, and when it says that something is wrong."""

import socket
from collections.abc import Iterator

import pytest

from gateway.contract.credentials import Credential, Credentials
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from ingest.broker import local_host
from ingest.broker_config import MAX_QUEUED_BYTES, MONITOR_SERVICE, acl_text
from ingest.broker_watch import WatchFigures
from ingest.subscriber_sys import SysReader
from poolwatch.broker_monitor import BrokerGauges, make_monitor_credential
from tests.poolwatch.account_bench import REGISTRY


class Said(SysReader):
    """A broker that says what a test wants."""

    def __init__(self) -> None:
        self.said: dict[str, float] = {"uptime": 12.0, "publish/messages/dropped": 3.0}
        self.silent = 4.0

    @property
    def numbers(self) -> dict[str, float]:
        return self.said

    @property
    def has_spoken(self) -> bool:
        return bool(self.said)

    @property
    def silent_s(self) -> float:
        return self.silent


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        yield made


def gauges_at(
    listener: socket.socket, said: SysReader | None, figures: WatchFigures | None = None
) -> BrokerGauges:
    port = listener.getsockname()[1]
    return BrokerGauges(host="0.0.0.0", port=port, said=said, figures=figures or WatchFigures())  # noqa: S104 - not listened on here


def told(gauges: BrokerGauges) -> dict[str, float]:
    return {sample.name: sample.value for metric in gauges.metrics() for sample in metric.samples}


def test_what_the_broker_says_is_told_under_names_of_ours(listener: socket.socket) -> None:
    said = Said()
    said.said["version"] = 2.0
    numbers = told(gauges_at(listener, said))
    assert numbers == {
        "poolwatch_broker_reachable": 1,
        "poolwatch_broker_silent_s": 4,
        "poolwatch_broker_uptime_s": 12,
        "poolwatch_broker_dropped_messages_total": 3,
    }


def test_a_broker_that_works_is_ready(listener: socket.socket) -> None:
    for said in (Said(), None):
        gauges = gauges_at(listener, said)
        assert (gauges.not_alive(), gauges.not_ready()) == ([], [])


def test_a_port_that_takes_nothing_is_not_ready(listener: socket.socket) -> None:
    said = Said()
    said.said = {}
    silent, unheard = gauges_at(listener, None), gauges_at(listener, said)
    listener.close()
    for gauges in (silent, unheard):
        (reason,) = gauges.not_ready()
        assert "takes no connection" in reason
        assert told(gauges)["poolwatch_broker_reachable"] == 0


def test_a_broker_that_is_heard_is_not_knocked_at(listener: socket.socket) -> None:
    listener.settimeout(0.01)
    assert told(gauges_at(listener, Said()))["poolwatch_broker_reachable"] == 1
    with pytest.raises(TimeoutError):
        listener.accept()


@pytest.mark.parametrize(
    ("silent_s", "ready", "alive"), [(24.9, True, True), (25, False, True), (60, False, False)]
)
def test_silence_is_first_not_ready_and_then_stuck(
    listener: socket.socket,
    silent_s: float,
    ready: bool,  # noqa: FBT001 - parametrized
    alive: bool,  # noqa: FBT001 - parametrized
) -> None:
    said = Said()
    said.silent = silent_s
    gauges = gauges_at(listener, said)
    assert (not gauges.not_ready(), not gauges.not_alive()) == (ready, alive)


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (WatchFigures(registry_refused=1), "is not in force"),
        (WatchFigures(credentials_refused=1), "is not in force"),
        (WatchFigures(files_unwritten=1), "is not in force"),
        (WatchFigures(certificate_days_left=-1), "the certificate has ended"),
    ],
)
def test_files_that_are_not_in_force_are_told(
    listener: socket.socket, figures: WatchFigures, reason: str
) -> None:
    (said,) = gauges_at(listener, None, figures).not_ready()
    assert reason in said


def test_a_certificate_that_ends_today_still_holds(listener: socket.socket) -> None:
    assert gauges_at(listener, None, WatchFigures(certificate_days_left=0)).not_ready() == []


def test_a_broker_that_holds_nearly_all_it_may_is_told(listener: socket.socket) -> None:
    said = Said()
    said.said["store/messages/bytes"] = 0.8 * MAX_QUEUED_BYTES
    assert gauges_at(listener, said).not_ready() == []
    said.said["store/messages/bytes"] += 1
    (reason,) = gauges_at(listener, said).not_ready()
    assert "the broker holds 215 MB: see that ingest runs; from 268 MB on it drops" in reason


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - not listened on
        ("::", "::1"),
        ("10.1.2.3", "10.1.2.3"),
        ("localhost", "localhost"),
    ],
)
def test_a_broker_on_all_addresses_is_reached_on_loopback(host: str, local: str) -> None:
    assert local_host(host) == local
    assert make_monitor_credential(host=host, port=1).host == local


@pytest.fixture
def registry() -> Registry:
    return parse_registry(REGISTRY)


def test_the_monitor_may_hear_the_broker_and_nothing_else(registry: Registry) -> None:
    monitor = Credential("poolwatch-monitor", "p", "127.0.0.1", 1)
    assert acl_text(registry, Credentials({}, {MONITOR_SERVICE: monitor})) == (
        "user poolwatch-monitor\ntopic read $SYS/broker/#\n"
    )


def test_each_start_has_another_password() -> None:
    first, second = (make_monitor_credential(host="127.0.0.1", port=1).password for _ in range(2))
    assert first != second
