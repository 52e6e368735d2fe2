"""What operators read of an ingest besides its counters."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.contract.registry import Registry
from ingest.incoming import Incoming
from ingest.intake import assess_many
from ingest.journal.journal import Journal
from ingest.latencies import BOUNDS_S, Latencies
from ingest.registry_source import RegistrySource
from ingest.store.batches import IngestBatch, WriteOutcome
from ingest.store.ports import StoreUnavailableError
from ingest.store_timing import TimedWriter

WaitUntil = Callable[..., None]
STATUS = (
    b'{"state":"online","boot_id":"b","since":"2026-07-01T08:00:00Z","next_seq":%d,"outbox":[],"dropped":[]}'
)
DAY_MS = 86_400_000
T0 = 20_635 * DAY_MS


class SlowStore:
    """Answers a write when it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.fails = False

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        assert self.go.wait(30)
        if self.fails:
            raise StoreUnavailableError("away")
        return WriteOutcome(0)


def test_a_histogram_counts_each_bound_with_all_below_it() -> None:
    latencies = Latencies()
    for seconds in (0.0, 0.001, 0.002, 0.5, 31.0):
        latencies.observe(seconds)
    seen = latencies.observed()
    assert dict(zip(BOUNDS_S, seen.up_to, strict=True)) == {
        0.001: 2,
        0.003: 3,
        0.01: 3,
        0.03: 3,
        0.1: 3,
        0.3: 3,
        1.0: 4,
        3.0: 4,
        10.0: 4,
        30.0: 4,
    }
    assert seen.number == 5
    assert seen.sum_s == pytest.approx(31.503)


def test_a_write_that_hangs_is_seen_while_it_hangs(wait_until: WaitUntil) -> None:
    slow = SlowStore()
    store = TimedWriter(slow)
    writes = [threading.Thread(target=lambda: store.write(IngestBatch(), stored_at_ms=0)) for _ in range(2)]
    for write in writes:
        write.start()
    wait_until(lambda: store.under_way == 2)
    first_s = store.longest_s
    wait_until(lambda: store.longest_s > first_s > 0)
    assert store.latencies.observed().number == 0
    slow.go.set()
    for write in writes:
        write.join()
    assert (store.under_way, store.longest_s, store.latencies.observed().number) == (0, 0.0, 2)


def test_a_write_that_fails_took_time_too() -> None:
    slow = SlowStore()
    slow.fails = True
    slow.go.set()
    store = TimedWriter(slow)
    with pytest.raises(StoreUnavailableError):
        store.write(IngestBatch(), stored_at_ms=0)
    assert (store.under_way, store.latencies.observed().number) == (0, 1)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal")) as opened:
        yield opened


def test_a_journal_tells_its_days_and_bytes(journal: Journal, registry: Registry) -> None:
    assert journal.figures()[:2] == (0, 0)
    assert journal.figures().oldest_day_ms == 0
    for day in range(3):
        message = Incoming("gateways/gw-a/status", STATUS % day, T0 + day * DAY_MS)
        assessments, _ = assess_many([message], registry)
        journal.append_many([message], assessments)
    while journal.maintain(T0 + 3 * DAY_MS):
        pass
    figures = journal.figures()
    assert (figures.days, figures.packed_days, figures.oldest_day_ms) == (3, 2, T0)
    assert figures.taken_bytes == sum(path.stat().st_size for path in (journal._folder).iterdir())
    assert journal.releases_asked_for() == 0


def test_a_checkpoint_makes_the_age_small_again(journal: Journal) -> None:
    before_s = journal._writing.checkpoints.written_at_s
    journal.checkpoint()
    assert journal._writing.checkpoints.written_at_s > before_s
    assert journal.checkpoint_age_s >= 0


def test_a_refused_file_is_told_until_a_good_one_is_there(tmp_path: Path, registry_text: str) -> None:
    path = tmp_path / "pools.toml"
    path.write_text(registry_text, encoding="utf-8")
    source = RegistrySource(path)
    told = []
    for text in ("schema = 9", registry_text + "\n# as before\n", None, registry_text + "\n# as before\n"):
        if text is None:
            path.unlink()
        else:
            path.write_text(text, encoding="utf-8")
        source.poll()
        told.append(source.is_refused)
    assert told == [True, False, True, False]
