"""A store filled again from journals."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from gateway.contract.registry_file import parse_registry
from gateway.contract.times import Clock
from ingest.backoff import Backoff
from ingest.intake import rebuild_many
from ingest.journal.account import read_account
from ingest.journal.standing import read_standing
from ingest.series_tables import LearntSeries
from ingest.store.batches import IngestBatch
from ingest.store.ports import FactReader, ReadingWriter, StoreUnavailableError
from ingest.store.records import RegistryVersionRow
from ingest.store_writing import write_batch

_log = structlog.get_logger()


class Filled(ReadingWriter, FactReader, Protocol):
    """A store that is filled, and asked which registry it knows."""


@dataclass(slots=True)
class Rebuilt:
    """What was done: messages read, readings that are new in the store, those that it had, and what it refused, in words."""

    messages: int = 0
    stored: int = 0
    known: int = 0
    refused: list[str] = field(default_factory=list)


def rebuild_store(
    journals: Sequence[Path],
    store: Filled,
    *,
    registry_path: Path,
    clock: Clock,
    stop: threading.Event,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Rebuilt:
    """Write all that journals accepted, what was released since too, and wait for the store however long it is away.

    Raises
    ------
    JournalError
        If a folder holds no journal, or it is damaged.
    """
    result = Rebuilt()
    total = sum(read_account(folder).messages for folder in journals)
    if registry_path.exists():
        text = registry_path.read_text(encoding="utf-8")
        # A version in force already would be a new one by its instant, and a second run would change the store.
        if store.registry_text() != text:
            version = RegistryVersionRow(parse_registry(text).sha256, clock(), text)
            store.write(IngestBatch(registry_versions=[version]), stored_at_ms=clock())
    table = LearntSeries()
    for folder in journals:
        for messages, standing in read_standing(folder):
            if stop.is_set():
                return result
            rows = rebuild_many([one.message for one in standing], [one.refused for one in standing], table)
            _write(store, rows.batch, result, clock, stop)
            result.messages += len(messages)
            on_progress(result.messages, total)
    return result


def _write(
    store: ReadingWriter, batch: IngestBatch, result: Rebuilt, clock: Clock, stop: threading.Event
) -> None:
    backoff = Backoff()
    while True:
        try:
            written = write_batch(store, batch, stored_at_ms=clock())
        except StoreUnavailableError as error:
            if backoff.attempts == 0:
                _log.error("the store is not available; trying on", error=str(error))
            if stop.wait(max(backoff.next_s(), error.retry_after_s or 0.0)):
                return
        else:
            break
    result.stored += written.stored
    result.known += len(batch.readings) - written.stored - len(written.refused)
    result.refused += [
        f"{row.pool_id}, boot {row.boot_id} seq {row.seq}: {text}" for row, _, text in written.refused
    ]
