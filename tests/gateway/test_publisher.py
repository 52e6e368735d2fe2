"""The connection to the broker: refused, away, hanging; and the waiting between attempts."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.credentials import Credential
from gateway.publisher import Acknowledged, Backoff, Connected, Disconnected, Publisher

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker


def wait_for(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_waiting_grows_to_its_cap_and_is_spread_by_chance(attempt: int, chance: float) -> None:
    backoff = Backoff(first_s=1.0, most_s=30.0)
    wait_s = backoff.wait_s(attempt, chance=chance)
    assert 1.0 <= wait_s <= 30.0
    full_s = min(30.0, 2.0 ** min(attempt, 10))
    assert full_s / 2 <= wait_s <= full_s
    assert backoff.wait_s(attempt, chance=0.0) == full_s


def test_waiting_of_the_first_attempts() -> None:
    waits = [Backoff(first_s=1.0, most_s=30.0).wait_s(attempt, chance=0.0) for attempt in range(7)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.integration
def test_a_refusal_is_told_once_with_what_to_do_and_tried_on(
    broker: "MosquittoBroker", tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    broker.stop()
    broker.extra = ["allow_anonymous false", f"password_file {passwords}"]
    broker.start()
    publisher = Publisher(
        gateway_id="g1", credential=broker.credential("g1"), backoff=Backoff(first_s=0.05, most_s=0.1)
    )
    with structlog.testing.capture_logs() as logs:
        publisher.start(last_will=b"{}", wake=lambda: None)
        wait_for(lambda: publisher._attempt >= 5)
        assert publisher.publish("t", b"") is None
        broker.stop()
        broker.extra = []
        broker.start()  # and it lets everybody in now
        wait_for(lambda: publisher.connected)
    refusals = [log for log in logs if "refuses" in log["event"]]
    assert len(refusals) == 1
    assert "credentials.toml" in refusals[0]["event"]
    assert refusals[0]["port"] == broker.port
    publisher.close(last_status=None)


@pytest.mark.integration
def test_a_broker_that_is_away_is_told_once_and_found_again(broker: "MosquittoBroker") -> None:
    broker.stop()
    publisher = Publisher(
        gateway_id="g1", credential=broker.credential("g1"), backoff=Backoff(first_s=0.05, most_s=0.1)
    )
    woken: list[bool] = []
    with structlog.testing.capture_logs() as logs:
        publisher.start(last_will=b"{}", wake=lambda: woken.append(True))
        wait_for(lambda: publisher._attempt >= 5)
        broker.start()
        wait_for(lambda: publisher.connected)
    assert [log["event"] for log in logs] == ["the broker cannot be reached; trying on, readings are kept"]
    packet_id = publisher.publish("t", b"x")
    assert packet_id is not None
    seen: list[object] = []

    def acknowledged() -> bool:
        seen.extend(publisher.events())
        return Acknowledged(packet_id) in seen

    wait_for(acknowledged)
    assert seen[0] == Connected()
    assert woken
    publisher.disconnect_abruptly()
    assert publisher.events() == [Disconnected()]
    publisher.reconnect()
    wait_for(lambda: publisher.connected)
    publisher.close(last_status=None)


@pytest.mark.integration
def test_a_broker_that_hangs_is_not_waited_for_in_the_end(broker: "MosquittoBroker") -> None:
    publisher = Publisher(gateway_id="g1", credential=broker.credential("g1"))
    publisher.start(last_will=b"{}", wake=lambda: None)
    wait_for(lambda: publisher.connected)
    assert broker.process is not None
    subprocess.run(["kill", "-STOP", str(broker.process.pid)], check=True)
    try:
        for _ in range(5):
            publisher.publish("t", b"x")
        begun_s = time.monotonic()
        publisher.close(last_status=b"{}")
        assert time.monotonic() - begun_s < 8
    finally:
        subprocess.run(["kill", "-CONT", str(broker.process.pid)], check=True)


def test_an_address_where_nobody_is_raises_nothing_and_closes_quickly() -> None:
    publisher = Publisher(gateway_id="g1", credential=Credential("g1", "x", "no.such.host.invalid", 1883))
    publisher.start(last_will=b"{}", wake=lambda: None)
    assert publisher.publish("t", b"x") is None
    publisher.publish_status(b"{}")
    begun_s = time.monotonic()
    publisher.close(last_status=b"{}")
    assert time.monotonic() - begun_s < 8
