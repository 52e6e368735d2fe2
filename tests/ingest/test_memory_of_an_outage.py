"""A store that is away for long is tried often: no attempt may leave its batch in memory."""

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from ingest.backoff import Backoff
from ingest.counters import IngestCounters
from ingest.intake import Rows
from ingest.store.batches import IngestBatch, WriteOutcome, batch_of_rows
from ingest.store.ports import StoreUnavailableError
from ingest.store.records import ReadingRow
from ingest.store_writer import StoreWriter
from tests.ingest.test_letting_catch_up import Journal

ATTEMPTS = 8


class StoreThatIsAway:
    """Fails as HTTP clients do: with an error that its own traceback leads back to."""

    def __init__(self) -> None:
        self.batches: list[weakref.ref[object]] = []

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        del stored_at_ms
        self.batches.append(weakref.ref(batch.readings.value))
        error = StoreUnavailableError("away")
        in_a_circle = [error]
        try:
            raise error
        finally:
            del error
            assert in_a_circle

    @property
    def kept(self) -> int:
        return sum(batch() is not None for batch in self.batches)


@pytest.fixture
def collected_by_itself() -> Iterator[None]:
    """Nothing is collected but what the code under test asks for."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collected_by_itself")
def test_attempts_that_failed_keep_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.001)
    store, stop = StoreThatIsAway(), threading.Event()
    writer = StoreWriter(Journal(), store, clock=lambda: 0, counters=IngestCounters())
    for number in (1, 2):  # two, so that each attempt joins them into a batch of its own
        row = ReadingRow("p1", "fc-1", "ph", number, 7.0, "normal", 0, "gw-a", "b1", number, 0)
        writer.offer(Rows(batch_of_rows([row])), first_id=number, last_id=number)
    running = threading.Thread(target=writer.run, args=(stop,), kwargs={"drain_s": 0.0})
    running.start()
    while len(store.batches) < ATTEMPTS:
        stop.wait(0.01)
    stop.set()
    running.join()
    assert store.kept == 0
