"""Faults between outbox and ingest: receipts twice, clocks that leap, an ingest that is behind, packet ids that run out."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading
from gateway.contract.status import GatewayState
from gateway.contract.times import format_timestamp
from gateway.errors import InputError, OutboxError
from gateway.outbox import Outbox, read_account
from gateway.publisher import Acknowledged, Publisher
from gateway.sensors.ports import SensorPort
from gateway.service import GatewayService, Pace

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker
    from tests.gateway.conftest import IngestPlayer

    MakeGateway = Callable[[list[SensorPort], Pace], GatewayService]
    PlayIngest = Callable[[bool], IngestPlayer]
    StepUntil = Callable[[GatewayService, Callable[[], bool]], None]

pytestmark = pytest.mark.integration

_HOUR_MS = 3_600_000


def clock() -> int:
    return time.time_ns() // 1_000_000


def one_reading() -> tuple[str, list[Reading]]:
    return "p1", [Reading("fc-1", Quantity.FREE_CHLORINE_MG_L, format_timestamp(clock()), 0.5)]


def test_every_receipt_twice_changes_nothing(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil", tmp_path: Path
) -> None:
    ingest = play_ingest(False)
    service = make_gateway([], Pace())
    service.keep_as_backlog([one_reading() for _ in range(3000)], clock())
    step_until(service, lambda: len(ingest.order()) >= 2000)
    boot_id = service.outbox.boot_id
    for first in range(0, 2000, 100):
        for _ in range(2):
            ingest.confirm("g1", boot_id, [(first, first + 99)])
    step_until(service, lambda: service.outbox.account().messages_pending == 1000)
    step_until(service, lambda: len(set(ingest.order())) == 3000)
    for _ in range(2):
        ingest.confirm("g1", boot_id, [(0, 2999)])
    step_until(service, lambda: service.settled)
    account = read_account(tmp_path / "outbox.sqlite")
    assert (account.messages_sent, account.messages_pending, account.messages_dropped) == (3000, 0, 0)
    assert service.counters.sent == 3000 == len(ingest.order())


def test_the_window_opens_when_receipts_come_soon(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    ingest = play_ingest(False)
    service = make_gateway([], Pace(resend_after_s=60))
    service.keep_as_backlog([one_reading() for _ in range(7000)], clock())
    at_ms = clock()

    def step_at(condition: Callable[[], bool]) -> None:
        # The time stands still, so that receipts are as soon as can be.
        for _ in range(4000):
            service.step(at_ms)
            if condition():
                return
            service.wake.wait(0.01)
            service.wake.clear()
        pytest.fail("the condition did not come true")

    step_at(lambda: len(ingest.order()) == 2000)
    for _ in range(20):
        service.step(at_ms)
    assert service.counters.sent == 2000
    # The newest one was sent first: of the older ones 1,999, and then 3,999 more beside it.
    ingest.confirm("g1", service.outbox.boot_id, [(0, 1998)])
    step_at(lambda: len(ingest.order()) == 5999)
    for _ in range(20):
        service.step(at_ms)
    assert service.counters.sent == 5999
    ingest.confirm("g1", service.outbox.boot_id, [(0, 5997)])
    step_at(lambda: len(ingest.order()) == 7000)
    ingest.confirm("g1", service.outbox.boot_id, [(0, 6999)])
    step_at(lambda: service.settled)


@pytest.mark.parametrize("leap_ms", [10 * 60_000, -24 * _HOUR_MS])
def test_a_clock_that_leaps_sends_nothing_twice_and_forgets_no_time_out(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil", leap_ms: int
) -> None:
    ingest = play_ingest(False)
    service = make_gateway([], Pace(resend_after_s=5))
    service.keep_as_backlog([one_reading() for _ in range(20)], clock())
    step_until(service, lambda: len(ingest.order()) == 20)
    step_until(service, lambda: not service._delivery._packets)
    at_ms = clock() + leap_ms
    for _ in range(5):
        service.step(at_ms)
    assert service.counters.sent == 20
    for _ in range(12):
        at_ms += 500
        service.step(at_ms)
    assert service.counters.sent == 40  # 5 s and more without a receipt, by either clock
    assert service.counters.dead_letters == 0
    ingest.confirm("g1", service.outbox.boot_id, [(0, 19)])
    for _ in range(2000):
        service.step(at_ms)
        if service.settled:
            break
        service.wake.wait(0.01)
        service.wake.clear()
    assert service.settled
    # The newest first, for the public; then from the oldest on.
    assert [seq for _, seq in ingest.order()][:20] == [19, *range(19)]


def test_hours_left_survive_a_clock_that_leaps(make_gateway: "MakeGateway") -> None:
    class Sensor:
        pool_id, interval_s = "p1", 10.0

        def read(self, now_ms: int) -> list[Reading]:
            return [Reading("fc-1", Quantity.FREE_CHLORINE_MG_L, format_timestamp(now_ms), 0.5)]

    service = make_gateway([Sensor()], Pace())
    at_ms = clock()

    def hours_after_rounds() -> float:
        nonlocal at_ms
        for _ in range(100):
            at_ms += 10_000
            service.step(at_ms)
        hours = service._status(GatewayState.ONLINE, at_ms).hours_left
        assert hours is not None
        return float(hours)

    before = hours_after_rounds()
    for leap_ms in (24 * _HOUR_MS, -24 * _HOUR_MS, -600_000):
        at_ms += leap_ms
        assert 0.5 < hours_after_rounds() / before < 2


def test_an_ingest_that_is_behind_is_not_sent_the_same_again(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    ingest = play_ingest(False)
    service = make_gateway([], Pace(resend_after_s=10))
    service.keep_as_backlog([one_reading() for _ in range(10)], clock())
    step_until(service, lambda: len(ingest.order()) == 10)
    step_until(service, lambda: not service._delivery._packets)
    at_ms = clock()
    for seq in range(5):  # one receipt each 8 s, always for the oldest
        at_ms += 8000
        ingest.confirm("g1", service.outbox.boot_id, [(seq, seq)])
        for _ in range(1000):
            service.step(at_ms)
            if service.outbox.account().messages_pending == 9 - seq:
                break
            service.wake.wait(0.01)
            service.wake.clear()
    assert service.counters.sent == 10
    # Then nothing more is heard: after 10 s the rest is sent again.
    for _ in range(12):
        at_ms += 1000
        service.step(at_ms)
    assert service.counters.sent == 15


def test_more_messages_than_packet_ids_wait_and_ids_wrap(broker: "MosquittoBroker") -> None:
    publisher = Publisher(gateway_id="g1", credential=broker.credential("g1"))
    woken: list[bool] = []
    publisher.start(last_will=b"{}", wake=lambda: woken.append(True))
    events: list[object] = []

    def wait_for(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            events.extend(publisher.events())
            time.sleep(0.01)

    wait_for(lambda: publisher.connected)
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    ids: list[int] = []
    try:
        with publisher.batch():
            while (packet_id := publisher.publish("t", b"x")) is not None:
                ids.append(packet_id)
        assert len(ids) == len(set(ids)) == 65_535 - 1023
        assert publisher.publish("t", b"x") is None
    finally:
        broker.process.send_signal(signal.SIGCONT)
    wait_for(lambda: sum(isinstance(event, Acknowledged) for event in events) == len(ids))
    assert {event.packet_id for event in events if isinstance(event, Acknowledged)} == set(ids)
    events.clear()
    with publisher.batch():
        again = [publisher.publish("t", b"y") for _ in range(1000)]
    assert again == ids[:1000]
    publisher.publish_status(b"{}")
    wait_for(lambda: sum(isinstance(event, Acknowledged) for event in events) == 1000)
    publisher.close(last_status=b"{}")


def test_a_boot_id_that_was_used_before_is_refused_at_the_next_start(
    make_gateway: "MakeGateway", tmp_path: Path
) -> None:
    service = make_gateway([], Pace())
    boot_id = service.outbox.boot_id
    service.record(*one_reading(), clock())
    service.close()
    outbox = Outbox(tmp_path / "outbox.sqlite")
    with pytest.raises(OutboxError, match="begun before"):
        outbox.begin_boot(boot_id, clock())
    outbox.begin_boot("another", clock())
    assert outbox.next_seq() == 0
    assert outbox.ranges() == [(boot_id, 0, 1)]
    outbox.close()


@pytest.mark.parametrize("resend_after_s", [0.99, 0.0, -1.0, float("nan")])
def test_sending_again_before_a_receipt_can_come_is_refused(resend_after_s: float) -> None:
    with pytest.raises(InputError, match="a receipt each"):
        Pace(resend_after_s=resend_after_s)
