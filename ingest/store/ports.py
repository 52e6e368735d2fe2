"""The store behind ports: who writes what, who reads what. Adapters: `sqlite`, `influx`; chosen in `opening`.

Errors come first: a caller retries `StoreUnavailableError` for ever and hands `StoreRejectedError` to a person.
A cursor is opaque: keep it, give it back. `None` means from the beginning.
"""

from collections.abc import Sequence
from typing import Protocol

from ingest.store.batches import IngestBatch, WriteOutcome
from ingest.store.records import (
    Arrival,
    GatewayStatusRow,
    LogbookRow,
    PoolStateRow,
    PublicationColumns,
    PublicationRow,
    ReadingColumns,
    SeriesKey,
    StoreCounts,
    VerdictRow,
)


class StoreError(Exception):
    """Base of what a store can answer instead of doing its work."""


class StoreUnavailableError(StoreError):
    """Not now: away, locked, full. The same call may succeed later, and not before `retry_after_s` if the store says so."""

    def __init__(self, text: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class StoreRejectedError(StoreError):
    """Not ever: the store will not take these rows as they are."""


class ReadingWriter(Protocol):
    """Ingest's side. Writing the same rows again changes nothing."""

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        """Store a batch and its arrivals in one step.

        Two values for one (pool, sensor, quantity, measured_at): the smallest (received_at, gateway, boot, seq)
        stands and the other is returned as a conflict. The same value again is a duplicate, unless it comes from the
        same message, which is a repeated write and counts as neither.
        """
        ...


class FactReader(Protocol):
    """Analytics' side: what changed, and the facts of a pool."""

    #: How often it is worth to ask for arrivals. [s]
    poll_s: float

    def arrivals_after(self, cursor: str | None, *, limit: int = 10_000) -> tuple[list[Arrival], str]:
        """Arrivals since `cursor`, oldest first, and the cursor after them.

        None is ever left out. A store opened anew may give those of the last minute once more.
        """
        ...

    def readings(self, pool_id: str, *, from_ms: int, to_ms: int) -> dict[SeriesKey, ReadingColumns]:
        """Readings of a pool with from_ms <= measured_at < to_ms, by series."""
        ...

    def latest(self, pool_id: str) -> dict[SeriesKey, ReadingColumns]:
        """The newest reading of each series of a pool: arrays of shape (1,)."""
        ...

    def first_reading_ms(self, pool_id: str) -> int | None:
        """`measured_at` of the oldest reading of a pool; None if it has none."""
        ...

    def publications(self, pool_id: str, *, from_ms: int, to_ms: int) -> dict[SeriesKey, PublicationColumns]:
        """Published values of a pool with from_ms <= published_at < to_ms, by series."""
        ...

    def logbook(self, pool_id: str, *, from_ms: int, to_ms: int) -> list[LogbookRow]:
        """Logbook entries of a pool with from_ms <= at < to_ms, by `at`."""
        ...

    def registry_text(self) -> str | None:
        """The newest accepted registry; None before ingest accepted one."""
        ...


class ResultStore(Protocol):
    """Verdicts and states: written by analytics, read by all. Nothing is overwritten but the latest state."""

    def write_results(
        self,
        *,
        verdicts: Sequence[VerdictRow],
        states: Sequence[PoolStateRow],
        progress: str | None = None,
        reader: str = "",
    ) -> None:
        """Append revisions, append states, and remember the arrivals' cursor that they follow from, in one step.

        Several analytics services share a store's pools: each is a `reader` of its own, with its own progress.
        """
        ...

    def progress(self, reader: str = "") -> str | None:
        """The cursor given with a reader's last `write_results`: where it goes on after a restart."""
        ...

    def verdicts(
        self, pool_id: str, *, from_ms: int | None = None, to_ms: int | None = None, kind: str | None = None
    ) -> list[VerdictRow]:
        """Current revisions, withdrawn ones too, that overlap [from, to); an open end reaches for ever. By start."""
        ...

    def verdict_revisions(self, verdict_id: str) -> list[VerdictRow]:
        """Every revision of a verdict, oldest first."""
        ...

    def verdicts_after(self, cursor: str | None, *, limit: int = 10_000) -> tuple[list[VerdictRow], str]:
        """Revisions written since `cursor`, oldest first, and the cursor after them."""
        ...

    def pool_states(self) -> dict[str, PoolStateRow]:
        """The latest state of each pool that has one."""
        ...

    def pool_states_after(self, cursor: str | None, *, limit: int = 10_000) -> tuple[list[PoolStateRow], str]:
        """States written since `cursor`, oldest first, and the cursor after them.

        A pool's latest state is always among them. Of older ones a store may keep only the last of each minute and
        condition: who must see a pool change reads verdicts, which are all kept.
        """
        ...


class PublicationWriter(Protocol):
    """The public service's side. Writing the same publication again changes nothing."""

    def write_publications(self, rows: Sequence[PublicationRow], *, stored_at_ms: int) -> None:
        """Store what was published, with its arrivals, in one step."""
        ...


class Store(ReadingWriter, FactReader, ResultStore, PublicationWriter, Protocol):
    """All of it, as an adapter implements it; a service asks only for its own side."""

    def counts(self) -> StoreCounts:
        """Totals for the account. May read everything: meant for a demo, a venue, a trial."""
        ...

    def readings_by_pool(self, *, from_ms: int, to_ms: int) -> dict[str, int]:
        """How many readings with from_ms <= measured_at < to_ms each pool has, counted in the store itself."""
        ...

    def gateway_statuses(self) -> dict[str, GatewayStatusRow]:
        """The newest status of each gateway that has said one."""
        ...

    def readings_waiting(self) -> int:
        """Readings (new rows of arrivals) that some reader has not worked through yet, after its `progress`."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...
