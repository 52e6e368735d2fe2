"""What was refused is looked at, released by command while ingest runs, and what cannot be cured says why it stays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from poolwatch.clock import system_clock_ms
from tests.integration.fault_bench import Bench, needs_mosquitto, pool_of, quarantined, until
from tests.integration.fault_postman import Postman, reading
from tests.integration.fault_verdicts import Sent

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(180)]
_NEW_SENSOR = """[[pools.pool-of-g1.sensors]]
id = "fc-2"
quantity = "free_chlorine_mg_l"
place = "pool"
interval_s = 60
[gateways.g1]
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.start_broker()
    bench.start_ingest()
    yield bench
    bench.close()


def test_a_release_after_a_registry_change_arrives_and_the_rest_says_why_it_stays(bench: Bench) -> None:
    bench.until_ready()
    now_ms = system_clock_ms()
    postman = Postman(bench, "g1", "first")
    good = [
        Sent(pool_of("g1"), "fc-1", "free_chlorine_mg_l", now_ms - 10_000 + seq, seq / 10) for seq in range(5)
    ]
    for seq, one in enumerate(good):
        postman.send(seq, reading(one.measured_at_ms, one.value))
    postman.send(5, reading(now_ms, 0.7, sensor_id="fc-2"), reading(now_ms, 0.8))
    postman.send(6, reading(now_ms + 3_600_000, 0.9))
    postman.until_receipted(range(7))
    postman.leave()

    # The same boot and seqs again with other readings: a clone.
    clone = Postman(bench, "g1", "first")
    clone.send(0, reading(now_ms - 20_000, 0.33))
    clone.until_receipted([0])
    clone.leave()

    listed = bench.run("quarantine", "list").stdout
    assert "unknown_sensor: 1" in listed
    assert "future_time: 1" in listed
    assert "cloned: 1" in listed
    counted = bench.run("quarantine", "count").stdout
    assert all(code in counted for code in ("unknown_sensor", "future_time", "cloned"))
    # Messages are numbered as they came: six is the one with the sensor that nobody knows, seven the one of tomorrow.
    assert '"fc-2"' in bench.run("quarantine", "show", "6").stdout
    assert "Add the sensor to its pool" in bench.run("quarantine", "explain", "6").stdout
    assert "Correct the gateway's clock" in bench.run("quarantine", "explain", "7").stdout

    def release(*more: str) -> str:
        done = bench.run("quarantine", "release", "--by", "an engineer", *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Before the registry changes, nothing is cured.
    assert "0 released" in release()
    text = bench.folder.registry.read_text(encoding="utf-8")
    bench.folder.registry.write_text(text.replace("[gateways.g1]\n", _NEW_SENSOR), encoding="utf-8")
    answer = release("--why", "the sensor was put into the registry")
    assert "1 released" in answer
    assert "2 stay" in answer
    assert "future_time" in answer
    assert "released only by force" in answer
    expected = [
        *good,
        Sent(pool_of("g1"), "fc-2", "free_chlorine_mg_l", now_ms, 0.7),
        Sent(pool_of("g1"), "fc-1", "free_chlorine_mg_l", now_ms, 0.8),
    ]
    until(lambda: sorted(bench.stored()) == sorted(expected), "the released reading is in the store")
    account = bench.account()
    assert quarantined(account) == 1
    assert sum(line.tally.cloned_messages for line in account.lines) == 1
    assert bench.run("reconcile").returncode == 0

    # A clone's reading needs force, force needs a reason, and then it is stored too.
    refused = bench.run("quarantine", "release", "--by", "an engineer", "--force", "--reason", "cloned")
    assert refused.returncode == 2
    assert "needs a reason" in refused.stderr
    answer = release("--force", "--reason", "cloned", "--why", "seen on the paper strip of the device")
    assert "1 released" in answer
    expected.append(Sent(pool_of("g1"), "fc-1", "free_chlorine_mg_l", now_ms - 20_000, 0.33))
    until(lambda: sorted(bench.stored()) == sorted(expected), "what was forced is in the store")
    # Time passes no quarantine: a clock that was ahead has no time to be believed.
    assert "0 released" in release("--reason", "future_time")
    bench.settle()
    account = bench.assert_whole(expected)
    assert quarantined(account) == 1


def test_a_release_asked_for_while_ingest_is_killed_arrives_when_it_is_back(bench: Bench) -> None:
    bench.until_ready()
    now_ms = system_clock_ms()
    postman = Postman(bench, "g1", "first")
    postman.send(0, *(reading(now_ms - at, at / 10, sensor_id="fc-2") for at in range(1, 9)))
    postman.until_receipted([0])
    postman.leave()
    bench.kill("ingest")
    text = bench.folder.registry.read_text(encoding="utf-8")
    bench.folder.registry.write_text(text.replace("[gateways.g1]\n", _NEW_SENSOR), encoding="utf-8")
    assert "8 released" in bench.run("quarantine", "release", "--by", "an engineer").stdout
    # A second one asks for nothing that was asked for.
    assert "0 released" in bench.run("quarantine", "release", "--by", "another one").stdout
    bench.start_ingest()
    bench.until_ready()
    expected = [Sent(pool_of("g1"), "fc-2", "free_chlorine_mg_l", now_ms - at, at / 10) for at in range(1, 9)]
    until(lambda: sorted(bench.stored()) == sorted(expected), "the released readings are in the store")
    bench.settle()
    assert quarantined(bench.assert_whole(expected)) == 0
