"""A broker that forgets everything, and one that holds more than 65,535 messages for ingest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.outbox import read_account as read_outbox
from poolwatch.clock import system_clock_ms
from tests.integration.fault_bench import Bench, came_again, needs_mosquitto, pool_of, until
from tests.integration.fault_postman import Postman, reading
from tests.integration.fault_verdicts import Sent

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(240)]
#: More than MQTT has packet numbers.
_BACKLOG = 70_000


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_broker_that_forgets_everything_is_told_again(bench: Bench) -> None:
    for name in ("broker", "ingest", "g1"):
        bench.start(name)
    bench.until_ready()
    until(lambda: len(bench.payloads("g1")) > 20, "readings flow")
    # Ingest is away: what follows is in the broker's memory, acknowledged to the gateway, and nowhere else but its outbox.
    bench.kill("ingest")
    before = len(bench.payloads("g1"))
    until(lambda: len(bench.payloads("g1")) > before + 50, "the broker holds messages for ingest")
    bench.stop("broker")
    database = bench.folder.broker / "mosquitto.db"
    assert database.stat().st_size > 0
    database.unlink()
    kept = read_outbox(bench.folder.outbox("g1")).messages_pending
    assert kept > 50
    bench.start_broker()
    bench.start_ingest()
    bench.until_ready()
    assert '"session_present": false' in bench.log_of("ingest").splitlines()[-1] or (
        bench.log_of("ingest").count('"session_present": false') >= 2
    )
    bench.settle()
    bench.assert_whole(bench.sent("g1"))


def test_more_messages_in_flight_than_mqtt_can_number(bench: Bench) -> None:
    bench.start_broker()
    bench.start_ingest()
    bench.until_ready()
    bench.stop("ingest")  # its session stays, and the broker keeps for it what comes
    start_ms = system_clock_ms() - _BACKLOG
    postman = Postman(bench, "g1", "long")
    expected = []
    for seq in range(_BACKLOG):
        expected.append(Sent(pool_of("g1"), "fc-1", "free_chlorine_mg_l", start_ms + seq, seq % 5000 / 1000))
        postman.send(seq, reading(start_ms + seq, expected[-1].value))
    postman.say(next_seq=_BACKLOG)
    postman.until_taken()
    assert not postman.receipted
    bench.start_ingest()
    postman.until_receipted(range(100))
    # In the middle of it ingest dies, and what it had not acknowledged comes again.
    bench.kill("ingest")
    bench.start_ingest()
    until(lambda: bench.journalled() >= _BACKLOG, "the journal has all", within_s=120)
    # What was journalled in the instant of the kill has no receipt yet: a gateway sends it again.
    for seq in sorted(set(range(_BACKLOG)) - postman.receipted):
        postman.send(seq, reading(expected[seq].measured_at_ms, expected[seq].value))
    postman.until_receipted(range(_BACKLOG), within_s=120)
    postman.leave()
    bench.settle()
    account = bench.assert_whole(expected)
    # Once more each at most for the kill, and once more for what had no receipt.
    assert came_again(account) < 2 * _BACKLOG
