"""A gateway against a real broker; the test plays ingest and decides which receipts are given."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway import delivery
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading
from gateway.contract.times import format_timestamp
from gateway.errors import SensorError
from gateway.outbox import Outbox, read_account
from gateway.publisher import Publisher
from gateway.running import run_gateways
from gateway.sensors.ports import SensorPort
from gateway.service import GatewayService, Pace

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker
    from tests.gateway.conftest import IngestPlayer

    MakeGateway = Callable[[list[SensorPort], Pace], GatewayService]
    PlayIngest = Callable[[bool], IngestPlayer]
    StepUntil = Callable[[GatewayService, Callable[[], bool]], None]

pytestmark = pytest.mark.integration


def clock() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class CountingSensor:
    """Reads 0.01, 0.02 … mg/L."""

    pool_id: str = "p1"
    interval_s: float = 0.05
    count: int = 0
    fails: Exception | None = None
    read_at_ms: list[int] = field(default_factory=list)

    def read(self, now_ms: int) -> list[Reading]:
        self.read_at_ms.append(now_ms)
        if self.fails is not None:
            raise self.fails
        self.count += 1
        return [reading(now_ms, self.count / 100)]


def reading(at_ms: int, value: float | None) -> Reading:
    return Reading("fc-1", Quantity.FREE_CHLORINE_MG_L, format_timestamp(at_ms), value)


def test_a_message_leaves_the_outbox_only_when_a_receipt_names_it(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    sensor = CountingSensor()
    ingest = play_ingest(False)
    service = make_gateway([sensor], Pace())
    step_until(service, lambda: len(set(ingest.order())) >= 5)
    service.measuring = False
    assert service.outbox.account().messages_pending == sensor.count
    ingest.confirm("g1", service.outbox.boot_id, [(1, 1), (3, 3)])
    step_until(service, lambda: service.outbox.account().messages_pending == sensor.count - 2)
    assert {1, 3}.isdisjoint(message.seq for message in service.outbox.pending(limit=100))
    ingest.confirm("g1", service.outbox.boot_id, [(2, 1000), (0, 3)])
    step_until(service, lambda: service.settled)
    assert service.counters.sent == sensor.count


def test_a_broker_that_is_killed_and_comes_back_costs_no_reading(
    broker: "MosquittoBroker", make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    sensor = CountingSensor(interval_s=0.02)
    ingest = play_ingest(True)
    service = make_gateway([sensor], Pace(resend_after_s=1.0))
    step_until(service, lambda: len(ingest.order()) >= 3)
    broker.kill()
    step_until(service, lambda: not service.publisher.connected)
    before = sensor.count
    step_until(service, lambda: sensor.count >= before + 20)  # it measures on
    broker.start()
    step_until(service, lambda: service.publisher.connected)
    before = sensor.count
    step_until(service, lambda: sensor.count >= before + 20)
    service.measuring = False
    step_until(service, lambda: service.settled)
    assert {seq for _, seq in ingest.order()} == set(range(sensor.count))
    account = service.outbox.account()
    assert (account.messages_sent, account.messages_dead, account.messages_dropped) == (sensor.count, 0, 0)


def test_live_readings_do_not_wait_behind_the_backlog(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    sensor = CountingSensor(interval_s=0.02)
    ingest = play_ingest(True)
    service = make_gateway([sensor], Pace(backlog_window=5))
    step_until(service, lambda: len(ingest.order()) >= 3)
    service.disconnect_abruptly()
    outage = service.keep([("p1", [reading(clock(), 1.0)]) for _ in range(2000)], clock())
    first, last = outage[0].seq, outage[-1].seq
    service.reconnect()
    step_until(service, lambda: service.outbox.next_seq() > last + 10 and service.publisher.connected)
    service.measuring = False
    step_until(service, lambda: service.settled)
    order = [seq for _, seq in dict.fromkeys(ingest.order())]
    assert set(order) == set(range(service.outbox.next_seq()))
    backlog = [index for index, seq in enumerate(order) if first <= seq < last]
    live = [index for index, seq in enumerate(order) if seq > last]
    assert live[0] < backlog[len(backlog) // 2]
    assert [order[index] for index in backlog] == list(range(first, last))


def test_the_backlog_leaves_in_its_window_while_no_receipt_comes(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    ingest = play_ingest(False)
    service = make_gateway([], Pace(unconfirmed_window=30, backlog_window=10, resend_after_s=60))
    service.keep_as_backlog([("p1", [reading(clock(), 1.0)])] * 100, clock())
    step_until(service, lambda: len(ingest.order()) == 30)
    for _ in range(20):
        service.step(clock())
    assert service.counters.sent == 30
    ingest.confirming = True
    ingest.confirm_all()
    step_until(service, lambda: service.settled)
    assert len(ingest.order()) == 100 == service.counters.sent


def test_earlier_boots_are_sent_too_oldest_first(
    tmp_path: Path, make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    earlier = Outbox(tmp_path / "outbox.sqlite")
    for boot in ("boot-a", "boot-b"):
        earlier.begin_boot(boot, 0)
        from_before = GatewayService("g1", [], earlier, _nowhere(), clock)
        from_before.keep([("p1", [reading(1, 1.0)]), ("p1", [reading(2, 2.0)])], 0)
    earlier.close()
    ingest = play_ingest(True)
    service = make_gateway([], Pace())
    step_until(service, lambda: service.settled)
    # The newest comes first, for the public; then all from the oldest on.
    assert ingest.order() == [("boot-b", 1), ("boot-a", 0), ("boot-a", 1), ("boot-b", 0)]


def _nowhere() -> Publisher:
    from gateway.contract.credentials import Credential

    return Publisher(gateway_id="g1", credential=Credential("g1", "x", "127.0.0.1", 1))


def test_what_the_broker_took_and_lost_is_sent_again(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    sensor = CountingSensor()
    # Nobody subscribes: the broker acknowledges and forgets, as one does that keeps its memory only in memory.
    service = make_gateway([sensor], Pace(resend_after_s=1.0))
    step_until(service, lambda: service.counters.sent >= 3)
    service.measuring = False
    ingest = play_ingest(True)
    step_until(service, lambda: service.settled)
    assert {seq for _, seq in ingest.order()} == set(range(sensor.count))


def test_five_times_without_a_receipt_ends_in_the_dead_letters(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    ingest = play_ingest(False)
    service = make_gateway([CountingSensor(interval_s=60)], Pace(resend_after_s=1.0))
    step_until(service, lambda: service.counters.dead_letters == 1)
    assert service.counters.sent == 5 == len(ingest.order())
    assert len(service.outbox.dead_letters()) == 1
    # A receipt that comes late after all, from an ingest that was away, clears it.
    ingest.confirm("g1", service.outbox.boot_id, [(0, 0)])
    step_until(service, lambda: service.outbox.account().messages_dead == 0)
    assert service.settled


def test_dead_letters_of_an_absent_ingest_are_sent_again_when_it_is_heard(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    service = make_gateway([CountingSensor(interval_s=60)], Pace(resend_after_s=1.0))
    # Nobody listens and the broker forgets: without a second chance this reading would be lost.
    step_until(service, lambda: service.counters.dead_letters == 1)
    ingest = play_ingest(True)
    service.record("p1", [reading(clock(), 1.0)], clock())
    step_until(service, lambda: {seq for _, seq in ingest.order()} == {0, 1} and service.settled)
    assert service.counters.revived == 1
    assert service.outbox.dead_letters() == []


def test_a_gateway_that_measures_nothing_more_asks_again_whether_ingest_is_back(
    make_gateway: "MakeGateway",
    play_ingest: "PlayIngest",
    step_until: "StepUntil",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # This ingest gives receipts at once, not one a second.
    monkeypatch.setattr(delivery, "INTERVAL_S", 0.05)
    service = make_gateway([CountingSensor(interval_s=60)], Pace(resend_after_s=0.1))
    service.record("p1", [reading(clock(), 1.0)], clock())
    step_until(service, lambda: service.counters.dead_letters == 2)
    # Nothing else is sent, so that no other receipt could tell that ingest is there again.
    ingest = play_ingest(True)
    step_until(service, lambda: service.settled and service.outbox.account().messages_dead == 0)
    assert {seq for _, seq in ingest.order()} == {0, 1}
    assert service.counters.revived == 1


def test_a_message_that_a_living_ingest_never_confirms_stays_a_dead_letter(
    make_gateway: "MakeGateway",
    play_ingest: "PlayIngest",
    step_until: "StepUntil",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ingest = play_ingest(False)
    # This ingest gives receipts at once, not one a second: five times without one need not take half a minute.
    monkeypatch.setattr(delivery, "INTERVAL_S", 0.1)
    service = make_gateway([CountingSensor()], Pace(resend_after_s=0.3))

    def confirms_all_but_0() -> bool:
        for boot_id, seq in set(ingest.order()):
            if seq != 0:
                ingest.confirm("g1", boot_id, [(seq, seq)])
        return service.counters.dead_letters == 1

    step_until(service, confirms_all_but_0)
    step_until(service, lambda: confirms_all_but_0() and service.outbox.next_seq() > 60)
    assert [letter.seq for letter in service.outbox.dead_letters()] == [0]
    assert service.counters.revived == 0


def test_a_sensor_that_fails_does_not_stop_the_others_and_says_what_is_silent(
    make_gateway: "MakeGateway", step_until: "StepUntil"
) -> None:
    quiet = CountingSensor(fails=SensorError("no answer"))
    telling = CountingSensor(fails=SensorError("no answer", silent=[("ph-1", Quantity.PH)]), pool_id="p3")
    broken = CountingSensor(fails=ZeroDivisionError())
    healthy = CountingSensor(pool_id="p2")
    service = make_gateway([quiet, telling, broken, healthy], Pace())
    step_until(service, lambda: healthy.count >= 3)
    assert service.counters.sensor_errors == sum(len(one.read_at_ms) for one in (quiet, telling, broken))
    by_topic = {
        message.topic: msgspec.json.decode(message.payload)["readings"][0]
        for message in service.outbox.pending()
    }
    assert set(by_topic) == {"pools/p2/gateways/g1/readings", "pools/p3/gateways/g1/readings"}
    silent = by_topic["pools/p3/gateways/g1/readings"]
    assert (silent["sensor_id"], silent["quantity"], silent["value"], silent["status"]) == (
        "ph-1",
        "ph",
        None,
        "no_communication",
    )


def test_a_nan_becomes_a_fault_and_what_cannot_be_written_costs_one_sensor(
    make_gateway: "MakeGateway",
) -> None:
    @dataclass
    class Strange:
        given: Reading
        pool_id: str = "p1"
        interval_s: float = 60

        def read(self, now_ms: int) -> list[Reading]:
            return [self.given]

    not_a_number = Strange(reading(0, float("nan")))
    half_a_character = Strange(msgspec.structs.replace(reading(0, 1.0), by="\ud800"))
    service = make_gateway([not_a_number, half_a_character, CountingSensor(interval_s=60)], Pace())
    service.step(clock())
    (message,) = service.outbox.pending()
    written = msgspec.json.decode(message.payload)["readings"]
    assert [(one["value"], one.get("status")) for one in written] == [(None, "fault"), (0.01, None)]
    assert service.counters.sensor_errors == 1


def test_status_is_retained_and_the_last_will_says_offline(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    sensor = CountingSensor()
    service = make_gateway([sensor], Pace())
    step_until(service, lambda: service.publisher.connected and sensor.count >= 2)
    ingest = play_ingest(True)  # comes after the status, which is retained

    def says(state: str) -> bool:
        ingest.order()
        return ingest.states[-1:] == [state]

    step_until(service, lambda: says("online"))
    service.disconnect_abruptly()
    step_until(service, lambda: says("offline"))
    before = sensor.count
    step_until(service, lambda: sensor.count >= before + 3)  # measuring goes on
    service.reconnect()
    step_until(service, lambda: says("online"))
    service.measuring = False
    step_until(service, lambda: service.settled)
    assert {seq for _, seq in ingest.order()} == set(range(sensor.count))


def test_one_message_carries_what_is_due_together_and_many_readings_are_split(
    make_gateway: "MakeGateway",
) -> None:
    service = make_gateway([CountingSensor(), CountingSensor(), CountingSensor(pool_id="p2")], Pace())
    service.step(clock())
    by_topic = {message.topic: msgspec.json.decode(message.payload) for message in service.outbox.pending()}
    assert {topic: len(payload["readings"]) for topic, payload in by_topic.items()} == {
        "pools/p1/gateways/g1/readings": 2,
        "pools/p2/gateways/g1/readings": 1,
    }
    long_text = msgspec.structs.replace(reading(0, 1.0), by="力" * 200, method="法" * 200)
    kept = service.record("p3", [long_text] * 1200, clock())
    assert sum(message.readings for message in kept) == 1200
    assert all(message.readings <= 500 and len(message.payload) <= 65536 for message in kept)
    assert [message.seq for message in kept] == list(range(kept[0].seq, kept[0].seq + len(kept)))


def test_readings_wait_in_memory_while_the_disk_is_full_and_none_is_lost(
    make_gateway: "MakeGateway", play_ingest: "PlayIngest", step_until: "StepUntil"
) -> None:
    sensor = CountingSensor(interval_s=0.02)
    ingest = play_ingest(False)
    service = make_gateway([sensor], Pace())
    step_until(service, lambda: sensor.count >= 2)
    connection = service.outbox._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")  # as a full disk: SQLITE_FULL
    step_until(service, lambda: service.counters.kept_errors > 0)
    full_at = sensor.count
    step_until(service, lambda: sensor.count >= full_at + 10)
    assert service.outbox.account().readings_sent < sensor.count - 8
    assert not service.settled
    connection.execute("PRAGMA max_page_count = 1000000")
    service.measuring = False
    step_until(service, lambda: service.outbox.account().readings_sent == sensor.count)
    ingest.confirming = True
    ingest.confirm_all()

    def all_confirmed() -> bool:
        ingest.confirm_all()
        return service.settled

    step_until(service, all_confirmed)
    measured = {item.value for one in ingest.envelopes for item in one.items if isinstance(item, Reading)}
    assert measured == {count / 100 for count in range(1, sensor.count + 1)}


def test_what_a_full_disk_costs_in_the_end_is_recorded(
    make_gateway: "MakeGateway", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.service._MOST_UNKEPT", 10)
    sensor = CountingSensor(interval_s=0.001)
    service = make_gateway([sensor], Pace())
    connection = service.outbox._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    begun_ms = clock()
    for instant in range(1, 60):
        service.step(begun_ms + 10 * instant)
    connection.execute("PRAGMA max_page_count = 1000000")
    service.step(begun_ms + 1000)
    account = service.outbox.account()
    assert service.counters.unkept_readings > 0
    assert account.readings_dropped == service.counters.unkept_readings
    assert account.readings_sent == sensor.count
    assert account.readings_pending == sensor.count - account.readings_dropped
    (span,) = service.outbox.dropped()
    assert begun_ms < span.from_ms < span.to_ms < begun_ms + 600
    assert span.messages == 0


def test_a_clock_that_is_put_back_stops_no_sensor_and_no_resending(
    make_gateway: "MakeGateway", step_until: "StepUntil"
) -> None:
    sensor = CountingSensor(interval_s=1.0)
    service = make_gateway([sensor], Pace(resend_after_s=1.0))
    step_until(service, lambda: service.counters.sent == 1)
    now_ms = clock() - 3_600_000
    deadline = time.monotonic() + 10
    while (sensor.count < 4 or service.counters.sent <= sensor.count) and time.monotonic() < deadline:
        now_ms += 500
        service.step(now_ms)
        service.wake.wait(0.02)
        service.wake.clear()
    assert sensor.count >= 4
    assert service.counters.sent > sensor.count


def test_one_loop_runs_several_gateways_and_ends_them_in_order(
    broker: "MosquittoBroker", tmp_path: Path, play_ingest: "PlayIngest", monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = play_ingest(True)
    services = []
    for name in ("g1", "g2", "g3"):
        service = GatewayService(
            name,
            [CountingSensor(pool_id=name)],
            Outbox(tmp_path / name / "outbox.sqlite"),
            Publisher(gateway_id=name, credential=broker.credential(name)),
            clock,
        )
        service.start_boot()
        services.append(service)
    monkeypatch.setattr(services[1].publisher, "events", _fails)  # a fault that no code foresees
    stop = threading.Event()

    def stop_when_enough_came() -> None:
        deadline = time.monotonic() + 15
        while len(ingest.order()) < 10 and time.monotonic() < deadline:
            time.sleep(0.02)
        stop.set()

    watcher = threading.Thread(target=stop_when_enough_came)
    watcher.start()
    run_gateways(services, stop=stop, drain_s=2.0)
    watcher.join()
    ingest.order()
    for name in ("g1", "g3"):
        account = read_account(tmp_path / name / "outbox.sqlite")
        assert account.messages_pending == 0
        taken = {envelope.seq for envelope in ingest.envelopes if envelope.gateway_id == name}
        assert taken == set(range(account.messages_sent)) != set()
    assert services[1].counters.loop_errors >= 1


def _fails() -> list[object]:
    raise RuntimeError("not foreseen")
