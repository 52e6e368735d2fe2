"""A store's writing side that notes how long each write takes, and how long those last that are under way."""

import threading
import time

from ingest.latencies import Latencies
from ingest.store.batches import IngestBatch, WriteOutcome
from ingest.store.ports import ReadingWriter


class TimedWriter:
    """Writes through to a store; failures take time too, and are raised as they are."""

    def __init__(self, store: ReadingWriter) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._begun_s: dict[int, float] = {}
        self._number = 0
        self.latencies = Latencies()

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        """Store a batch; see `ReadingWriter.write`."""
        begun_s = time.monotonic()
        with self._lock:
            self._number += 1
            number = self._number
            self._begun_s[number] = begun_s
        try:
            return self._store.write(batch, stored_at_ms=stored_at_ms)
        finally:
            with self._lock:
                del self._begun_s[number]
            self.latencies.observe(time.monotonic() - begun_s)

    @property
    def under_way(self) -> int:
        """Writes that the store has not answered yet."""
        return len(self._begun_s)

    @property
    def longest_s(self) -> float:
        """How long the oldest of those has been waited for; 0 without one. [s]"""
        with self._lock:
            begun_s = min(self._begun_s.values(), default=None)
        return 0.0 if begun_s is None else time.monotonic() - begun_s
