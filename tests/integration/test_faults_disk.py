"""A disk that is full under the journal, and a last write that is torn."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ingest.journal.state_file import NAME, open_state, read_marks
from poolwatch.clock import system_clock_ms
from tests.integration.fault_bench import Bench, needs_mosquitto, pool_of, until
from tests.integration.fault_postman import Postman, reading
from tests.integration.fault_verdicts import Sent
from tests.integration.small_disk import mounted_small

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(180)]
_KIB = 1024


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, ("g1", "g2"))
    yield bench
    bench.close()


@pytest.fixture
def small_disk(bench: Bench) -> Iterator[Path]:
    """The journal's folder as a disk of its own of 4 MiB."""
    with mounted_small(bench.folder.journal, bench) as folder:
        yield folder


def test_a_full_disk_acknowledges_nothing_says_so_and_goes_on_when_there_is_room(
    bench: Bench, small_disk: Path
) -> None:
    for name in ("broker", "ingest", "g1"):
        bench.start(name)
    bench.until_ready()
    until(lambda: len(bench.payloads("g1")) > 20, "readings flow")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 100 * _KIB))
    until(lambda: "nothing is acknowledged" in bench.readiness()[1], "ingest says that it cannot write")
    status, text = bench.readiness()
    assert status == 503
    assert "see that the disk has room" in text
    # The gateway measures on, and what it sends stays in its outbox: no receipt, and no more than a try again.
    before = len(bench.payloads("g1"))
    until(lambda: len(bench.payloads("g1")) > before + 100, "the gateway is not held up")
    journalled = bench.journalled()
    assert bench.readiness()[0] == 503
    ballast.unlink()
    bench.until_ready()
    until(lambda: bench.journalled() > journalled + 50, "ingest goes on by itself")
    # Killed on a full disk, it starts on a full disk, and goes on when there is room.
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 20 * _KIB))
    until(lambda: "nothing is acknowledged" in bench.readiness()[1], "full again")
    bench.kill("ingest")
    ballast.unlink()
    bench.start_ingest()
    bench.settle()
    bench.assert_whole(bench.sent("g1"))


def _checkpoint(bench: Bench) -> int:
    with closing(open_state(bench.folder.journal / NAME)) as connection:
        return read_marks(connection).head.message_id


def _wal(bench: Bench) -> Path:
    newest = max(bench.folder.journal.glob("????-??-??.sqlite"))
    return newest.with_name(f"{newest.name}-wal")


def test_a_write_that_was_torn_before_its_receipt_is_sent_again(bench: Bench) -> None:
    for name in ("broker", "ingest", "g1"):
        bench.start(name)
    bench.until_ready()
    for length in (13, 5_000, 40_000):
        before = bench.journalled()
        until(lambda before=before: bench.journalled() > before + 20, "readings flow")  # type: ignore[misc]
        bench.kill("ingest")
        # A power cut leaves what was on its way to the disk half written: the end of the log is garbage.
        with _wal(bench).open("ab") as file:
            file.write(os.urandom(length))
        bench.start_ingest()
        bench.until_ready()
    bench.settle()
    bench.assert_whole(bench.sent("g1"))


def _tear(wal: Path) -> None:
    """Cut the last commit in its middle, and garble what is left of it."""
    written = wal.read_bytes()
    wal.write_bytes(written[:-1000] + os.urandom(300))


def _one_each(bench: Bench) -> tuple[Postman, Postman, list[Sent]]:
    """Two messages with their receipts, one of each gateway: the second is younger than the last checkpoint."""
    now_ms = system_clock_ms()
    first, second = Postman(bench, "g1", "one"), Postman(bench, "g2", "two")
    sent = [Sent(pool_of(one), "fc-1", "free_chlorine_mg_l", now_ms, 0.5) for one in ("g1", "g2")]
    first.send(0, reading(now_ms, 0.5))
    first.until_receipted([0])
    second.send(0, reading(now_ms, 0.5))
    second.until_receipted([0])
    return first, second, sent


def test_a_receipted_message_that_the_disk_lost_is_never_written_over(bench: Bench) -> None:
    bench.start_broker()
    bench.start_ingest()
    bench.until_ready()
    first, second, sent = _one_each(bench)
    until(lambda: len(bench.stored()) == 2, "the store has both")
    until(lambda: bench.account().audit.checked == 2, "and the journal knows that it has")
    bench.kill("ingest")
    whole = _wal(bench).read_bytes()
    _tear(_wal(bench))
    # Ingest does not start: a message under the number of a lost one would be taken for stored.
    bench.start_ingest()
    assert bench.exit_code("ingest") == 2
    assert "it ends after message 1, and was 2 messages long: put back the newest day" in bench.log_of(
        "ingest"
    )
    verified = bench.run("journal", "verify")
    assert verified.returncode == 1
    assert "the chain breaks at message 2" in verified.stderr
    # The file is put back, as the text says.
    _wal(bench).write_bytes(whole)
    bench.start_ingest()
    bench.until_ready()
    for postman in (first, second):
        postman.leave()
    bench.settle()
    bench.assert_whole(sent)


def test_a_receipted_message_that_is_lost_for_good_shows_in_the_account(bench: Bench) -> None:
    bench.start_broker()
    bench.start_ingest()
    bench.until_ready()
    first, second, sent = _one_each(bench)
    until(lambda: len(bench.stored()) == 2, "the store has both")
    until(lambda: bench.account().audit.checked == 2, "and the journal knows that it has")
    bench.kill("ingest")
    _tear(_wal(bench))
    # No copy of the file is left: its state is moved away, and made again without what is lost.
    for path in bench.folder.journal.glob(f"{NAME}*"):
        path.unlink()
    bench.start_ingest()
    bench.until_ready()
    now_ms = system_clock_ms()
    second.send(1, reading(now_ms, 0.6))
    second.until_receipted([1])
    sent.append(Sent(pool_of("g2"), "fc-1", "free_chlorine_mg_l", now_ms, 0.6))
    until(lambda: len(bench.stored()) == 3, "what comes now is stored: no number was taken for stored")
    for postman in (first, second):
        postman.leave()
    bench.settle()
    # The store had the lost message's reading, and keeps it; the journal says what is missing, and whose it is.
    bench.assert_verdicts(sent)
    assert bench.run("journal", "verify").returncode == 0
    done = bench.run("reconcile")
    assert done.returncode == 1
    assert "g2: 1 messages were sent and never came: boot two seq 0" in done.stdout


def test_a_message_lost_that_neither_checkpoint_nor_store_knew_shows_in_the_account(bench: Bench) -> None:
    bench.start_broker()
    bench.start_ingest()
    bench.until_ready()
    # With the store locked, its cursor stays where it was.
    with closing(sqlite3.connect(bench.folder.root / "store.sqlite", isolation_level=None)) as locker:
        locker.execute("BEGIN EXCLUSIVE")
        first, second, sent = _one_each(bench)
        bench.kill("ingest")
        if _checkpoint(bench) == bench.journalled():
            pytest.skip("the machine was so slow that a checkpoint came between two messages")
        _tear(_wal(bench))
        locker.execute("ROLLBACK")
    bench.start_ingest()
    bench.until_ready()
    now_ms = system_clock_ms()
    second.send(1, reading(now_ms, 0.6))
    second.until_receipted([1])
    for postman in (first, second):
        postman.leave()
    bench.settle()
    bench.assert_verdicts([sent[0], Sent(pool_of("g2"), "fc-1", "free_chlorine_mg_l", now_ms, 0.6)])
    assert bench.run("journal", "verify").returncode == 0
    done = bench.run("reconcile")
    assert done.returncode == 1
    assert "g2: 1 messages were sent and never came: boot two seq 0" in done.stdout
