"""An InfluxDB that refuses, hangs, or whose answers are lost, below the whole chain: all readings are there once."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("influxdb_client", reason="a store in InfluxDB needs the extra `influx`")

from poolwatch.clock import system_clock_ms
from tests.ingest.store.influx_front import HANG, LOSE_THE_ANSWER, Fault, Front, serving
from tests.ingest.store.influx_server import influxd_program
from tests.integration.fault_bench import needs_mosquitto, pool_of, quarantined, until
from tests.integration.fault_influx import InfluxBench
from tests.integration.fault_postman import Postman, reading
from tests.integration.fault_verdicts import Sent

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(240)]
_DAY_MS = 86_400_000
_OVERLOADED = b'{"code": "unavailable", "message": "overloaded"}'


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[InfluxBench]:
    bench = InfluxBench(tmp_path, ("g1", "g2"), program=influxd_program())
    yield bench
    bench.close()


@pytest.fixture
def front(bench: InfluxBench) -> Iterator[Front]:
    with serving(bench.server.url) as front:
        bench.put_between(front.url)
        for name in ("broker", "ingest", "g1"):
            bench.start(name)
        bench.until_ready()
        until(lambda: len(bench.stored()) > 20, "readings are stored")
        yield front


def go_on(bench: InfluxBench, *, messages: int = 50) -> None:
    """Wait until journal and receipts have gone on by so many messages, whatever the store does."""
    before = bench.journalled()
    until(lambda: bench.journalled() > before + messages, "the journal grows")
    begun = bench.receipted("g1")
    until(lambda: bench.receipted("g1") > begun + messages, "receipts come")


def meets(front: Front, fault: Fault, *, times: int, bench: InfluxBench) -> None:
    """Have every write meet a fault, and wait until so many did."""
    front.met.clear()
    front.on_write = lambda _body: fault
    until(lambda: len(front.met) >= times, f"writes meet {fault!r}")
    go_on(bench)


@pytest.mark.parametrize("is_killed", [False, True], ids=["ingest stays", "ingest is killed"])
def test_an_influxdb_that_answers_503_gets_everything_later(
    bench: InfluxBench,
    front: Front,
    is_killed: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    meets(front, (503, {}, _OVERLOADED), times=3, bench=bench)
    stored = len(bench.stored())
    go_on(bench)
    assert len(bench.stored()) == stored
    if is_killed:
        bench.kill("ingest")
        bench.start("ingest")
        bench.until_ready()
        go_on(bench)
    front.behave()
    bench.settle()
    assert bench.assert_whole(bench.sent("g1")).stored > stored + 100


def test_an_influxdb_that_answers_429_is_not_asked_before_its_time(bench: InfluxBench, front: Front) -> None:
    meets(front, (429, {"Retry-After": "2"}, _OVERLOADED), times=4, bench=bench)
    # Its own waiting would have begun with a tenth of a second.
    asked_s = [one.at_s for one in front.met]
    assert all(later - earlier >= 2.0 for earlier, later in pairwise(asked_s))
    front.behave()
    bench.settle()
    bench.assert_whole(bench.sent("g1"))


def test_an_influxdb_that_hangs_is_given_up_and_asked_again(bench: InfluxBench, front: Front) -> None:
    # The second attempt comes when the first was given up: nobody let it go.
    meets(front, HANG, times=2, bench=bench)
    assert not front.release.is_set()
    front.behave()
    bench.settle()
    bench.assert_whole(bench.sent("g1"))


def test_answers_of_influxdb_that_are_lost_double_nothing(bench: InfluxBench, front: Front) -> None:
    # What was stored and not answered for is written again, and again.
    meets(front, LOSE_THE_ANSWER, times=4, bench=bench)
    bench.kill("ingest")
    bench.start("ingest")
    meets(front, LOSE_THE_ANSWER, times=2, bench=bench)
    front.behave()
    bench.settle()
    bench.assert_whole(bench.sent("g1"))


def test_a_422_of_influxdb_costs_the_one_reading_that_it_names(bench: InfluxBench, front: Front) -> None:
    now_ms = system_clock_ms()
    good = [Sent(pool_of("g2"), "fc-1", "free_chlorine_mg_l", now_ms - 1000 + n, n / 10) for n in range(9)]
    # InfluxDB keeps facts for 1,100 days, and refuses with 422 what is older.
    ancient = reading(now_ms - 1_200 * _DAY_MS, 0.5)
    readings = [reading(one.measured_at_ms, one.value) for one in good]
    postman = Postman(bench, "g2", "old")
    postman.send(0, *readings[:4], ancient, *readings[4:])
    postman.until_receipted([0])
    postman.say(next_seq=1)
    until(lambda: set(good) <= set(bench.stored()), "what is not ancient is stored")
    go_on(bench)
    postman.leave()
    bench.settle()
    account = bench.assert_whole([*bench.sent("g1"), *good])
    assert quarantined(account) == 1
    assert "store_rejected: 1" in bench.run("quarantine", "list").stdout


def test_a_422_that_is_not_of_the_readings_is_released_from_quarantine(
    bench: InfluxBench, front: Front
) -> None:
    # A server that cannot write answers so too: each reading is refused by itself, and none is forgotten.
    meets(front, (422, {}, b'{"code": "unprocessable entity", "message": "no"}'), times=3, bench=bench)
    front.behave()
    head = bench.journalled()
    until(lambda: bench.taken() >= head, "the store takes what comes")
    refused = quarantined(bench.account())
    assert refused > 0
    forced = ("--force", "--reason", "store_rejected", "--why", "the server was mended")
    assert f"{refused} released" in bench.run("quarantine", "release", "--by", "an engineer", *forced).stdout
    until(lambda: quarantined(bench.account()) == 0, "what was released is stored")
    bench.settle()
    bench.assert_whole(bench.sent("g1"))
