"""Gateways whose clocks are wrong, that step back, and two that are one."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from poolwatch.clock import system_clock_ms
from tests.integration.fault_bench import (
    Bench,
    came_again,
    needs_mosquitto,
    pool_of,
    quarantined,
    until,
)
from tests.integration.fault_postman import Postman, reading
from tests.integration.fault_verdicts import Sent

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(180)]
_DAY_MS = 86_400_000
_SOME = 40


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, ("g1", "bystander"))
    bench.start_broker()
    bench.start_ingest()
    bench.start_gateway("bystander")
    yield bench
    bench.close()


def set_clock(bench: Bench, gateway_id: str, offset_ms: int) -> None:
    place = bench.place_of(gateway_id)
    place.mkdir(parents=True, exist_ok=True)
    fresh = place / "offset.new"
    fresh.write_text(str(offset_ms))
    fresh.replace(place / "offset")


def wait_for_more(bench: Bench, gateway_id: str, readings: int = _SOME) -> int:
    """How many were sent, after so many more."""
    before = len(bench.sent(gateway_id))
    until(lambda: len(bench.sent(gateway_id)) >= before + readings, f"{gateway_id} goes on")
    return len(bench.sent(gateway_id))


def test_a_clock_that_is_ahead_goes_to_quarantine_and_stays_there(bench: Bench) -> None:
    set_clock(bench, "g1", 11 * 60_000)
    bench.start_gateway("g1")
    bench.until_ready()
    wait_for_more(bench, "g1")
    # Somebody corrects it; 11 minutes back is a step that the loop must live through.
    set_clock(bench, "g1", 0)
    wait_for_more(bench, "g1")
    bench.settle()
    ahead = [one for one in bench.sent("g1") if one.measured_at_ms > system_clock_ms() + 5 * 60_000]
    believed = [one for one in bench.sent("g1") if one not in set(ahead)]
    assert len(ahead) >= _SOME
    assert len(believed) >= _SOME
    account = bench.assert_whole([*believed, *bench.sent("bystander")])
    assert quarantined(account) == len(ahead)
    assert f"future_time: {len(ahead)}" in bench.run("quarantine", "list").stdout
    # The clock now says that they are past, or soon will be; when they came, their time was not to be believed.
    answer = bench.run("quarantine", "release", "--by", "an engineer").stdout
    assert "0 released" in answer
    assert f"{len(ahead)} stay" in answer
    assert bench.run("reconcile").returncode == 0


def test_a_clock_a_day_behind_is_late_and_stored(bench: Bench) -> None:
    set_clock(bench, "g1", -_DAY_MS)
    bench.start_gateway("g1")
    bench.until_ready()
    wait_for_more(bench, "g1")
    bench.settle()
    sent = bench.sent("g1")
    assert all(one.measured_at_ms < system_clock_ms() - _DAY_MS // 2 for one in sent)
    assert quarantined(bench.assert_whole([*sent, *bench.sent("bystander")])) == 0


def test_a_clock_that_steps_back_by_hours_loses_nothing(bench: Bench) -> None:
    bench.start_gateway("g1")
    bench.until_ready()
    before = wait_for_more(bench, "g1")
    set_clock(bench, "g1", -2 * 3_600_000)
    after = wait_for_more(bench, "g1")
    assert after >= before + _SOME  # it measures on at once, and not when the old time has come again
    bench.settle()
    # Seqs go on counting, without a hole: the order of measuring is known whatever the clock said.
    messages = sorted(bench.payloads("g1"), key=lambda message: int(message["seq"]))
    assert [message["seq"] for message in messages] == list(range(len(messages)))
    instants = [one["measured_at"] for message in messages for one in message["readings"]]
    assert sum(later < earlier for earlier, later in pairwise(instants)) == 1
    assert quarantined(bench.assert_whole([*bench.sent("g1"), *bench.sent("bystander")])) == 0


def test_instants_that_come_twice_keep_their_first_value_and_tell_the_other(bench: Bench) -> None:
    bench.start_gateway("g1", interval_s=0.1, grid_ms=100)
    bench.until_ready()
    wait_for_more(bench, "g1")
    set_clock(bench, "g1", -2000)
    wait_for_more(bench, "g1")
    bench.settle()
    first: dict[int, Sent] = {}
    for one in bench.sent("g1"):
        first.setdefault(one.measured_at_ms, one)
    conflicts = len(bench.sent("g1")) - len(first)
    assert conflicts > 5
    account = bench.assert_whole([*first.values(), *bench.sent("bystander")])
    assert quarantined(account) == conflicts
    assert f"conflict: {conflicts}" in bench.run("quarantine", "list").stdout


def test_a_cloned_gateway_raises_an_alarm_and_takes_nothing_from_the_first(bench: Bench) -> None:
    bench.until_ready()
    now_ms = system_clock_ms()
    expected: list[Sent] = []
    # Two devices of one outbox file, copied: one boot, the same seqs, each with its own probe.
    for device in range(2):
        for begin in range(0, _SOME, 10):
            postman = Postman(bench, "g1", "copied")
            for seq in range(begin, begin + 10):
                value = seq / 100 + device
                postman.send(seq, reading(now_ms - 60_000 + seq, value))
                if device == 0:
                    expected.append(
                        Sent(pool_of("g1"), "fc-1", "free_chlorine_mg_l", now_ms - 60_000 + seq, value)
                    )
            postman.say(next_seq=begin + 10)
            postman.until_receipted(range(begin, begin + 10))
            postman.leave()
    status, text = bench.readiness()
    assert status == 503
    assert "quarantine list" in text
    bench.settle()
    said = bench.log_of("ingest")
    assert said.count("two messages of one seq differ: a cloned or faulty gateway") == _SOME
    assert "quarantine grows" in said
    account = bench.assert_whole([*expected, *bench.sent("bystander")])
    assert sum(line.tally.cloned_messages for line in account.lines) == _SOME
    assert f"cloned: {_SOME}" in bench.run("quarantine", "list").stdout


def test_everything_delivered_twice_is_stored_once(bench: Bench) -> None:
    bench.until_ready()
    now_ms = system_clock_ms()
    postman = Postman(bench, "g1", "twice")
    expected = [
        Sent(pool_of("g1"), "fc-1", "free_chlorine_mg_l", now_ms - 500 + seq, seq / 100) for seq in range(300)
    ]
    for _ in range(2):
        for seq, one in enumerate(expected):
            postman.send(seq, reading(one.measured_at_ms, one.value))
        postman.until_taken()
    postman.until_receipted(range(300))
    postman.leave()
    # Once more, to an ingest that has forgotten what it had in memory.
    bench.kill("ingest")
    bench.start_ingest()
    bench.until_ready()
    again = Postman(bench, "g1", "twice")
    for seq, one in enumerate(expected):
        again.send(seq, reading(one.measured_at_ms, one.value))
    again.until_taken()
    again.until_receipted(range(300))
    again.leave()
    bench.settle()
    account = bench.assert_whole([*expected, *bench.sent("bystander")])
    assert came_again(account) >= 600
