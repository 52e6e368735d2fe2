"""Journal against store, reading by reading."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.registry import Registry
from ingest.counters import IngestCounters
from ingest.incoming import Incoming
from ingest.intake import assess_many
from ingest.journal.journal import Journal
from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.records import ReadingRow
from ingest.store.sqlite import SqliteStore
from ingest.store_audit import Audit, audit_journal
from ingest.store_writer import StoreWriter

TOPIC = "pools/north/gateways/gw-a/readings"
DAY_MS = 86_400_000
Build = Callable[..., Any]


class Bench:
    """A journal and a store, and the writer between them."""

    def __init__(self, folder: Path, registry: Registry, now_ms: int) -> None:
        self.folder = folder / "journal"
        self.registry = registry
        self.now_ms = now_ms
        self.journal = Journal(self.folder)
        self.store = SqliteStore(folder / "store.sqlite")
        self.writer = StoreWriter(
            self.journal, self.store, clock=lambda: self.now_ms, counters=IngestCounters()
        )

    def take_in(self, payloads: Sequence[bytes], *, topic: str = TOPIC, later_ms: int = 0) -> None:
        messages = [Incoming(topic, payload, self.now_ms + later_ms) for payload in payloads]
        assessments, _ = assess_many(messages, self.registry)
        self.journal.append_many(messages, assessments)

    def write_all(self) -> None:
        while self.writer.write_once():
            pass

    def audit(self, *, day: str | None = None) -> Audit:
        found = Audit()
        audit_journal(self.folder, self.store, found, day=day)
        return found

    def row(self, **changed: Any) -> ReadingRow:
        row = ReadingRow(
            "north",
            "fc-1",
            "free_chlorine_mg_l",
            self.now_ms,
            0.52,
            "normal",
            self.now_ms,
            "gw-a",
            "b1",
            0,
            0,
        )
        return row._replace(**changed)


@pytest.fixture
def bench(tmp_path: Path, registry: Registry, now_ms: int) -> Iterator[Bench]:
    made = Bench(tmp_path, registry, now_ms)
    with closing(made.journal), closing(made.store):
        yield made


def test_what_was_written_is_found_and_what_waits_or_was_refused_is_not_expected(
    bench: Bench, payload: Build, reading: Build
) -> None:
    good = payload([reading(), reading(sensor_id="nobody")], seq=0)
    null = payload([reading(measured_at="2026-07-01T07:59:00Z", value=None, status="fault")], seq=1)
    bench.take_in([good, null, payload([], seq=2), good])
    bench.write_all()
    bench.take_in([payload([reading(measured_at="2026-07-01T07:58:00Z")], seq=3)])
    audit = bench.audit()
    assert (audit.checked, audit.found, audit.missing_count, audit.different_count) == (2, 2, 0, 0)


def test_a_reading_that_the_store_lost_is_named(bench: Bench, payload: Build, reading: Build) -> None:
    bench.take_in(
        [payload([reading(measured_at=f"2026-07-01T07:{minute:02}:00Z")], seq=minute) for minute in range(40)]
    )
    # The cursor goes on, and the store never saw two of them.
    bench.write_all()
    with bench.store._session.writing() as connection:
        gone = connection.execute(
            "DELETE FROM reading WHERE measured_at_ms IN (?, ?)",
            (bench.now_ms - 55 * 60_000, bench.now_ms - 21 * 60_000),
        )
        assert gone.rowcount == 2
    audit = bench.audit()
    assert (audit.checked, audit.found, audit.missing_count, audit.different_count) == (40, 38, 2, 0)
    assert [(row.pool_id, row.sensor_id, row.seq) for row in audit.missing] == [
        ("north", "fc-1", 5),
        ("north", "fc-1", 39),
    ]


def test_another_value_in_the_store_is_told_apart_from_a_missing_one(
    bench: Bench, payload: Build, reading: Build
) -> None:
    # Somebody wrote past ingest, before it did: the journal's value is in conflict, and quarantined.
    earlier = bench.row(value=0.9, received_at_ms=bench.now_ms - 5, gateway_id="gw-x")
    bench.store.write(IngestBatch(readings=batch_of_rows([earlier])), stored_at_ms=bench.now_ms)
    bench.take_in([payload([reading()], seq=0)])
    bench.write_all()
    assert bench.audit().checked == 0
    with bench.store._session.writing() as connection:
        connection.execute("DELETE FROM reading")
    bench.take_in([payload([reading(measured_at="2026-07-01T07:00:00Z")], seq=1)])
    bench.write_all()
    with bench.store._session.writing() as connection:
        connection.execute("UPDATE reading SET value = 0.53")
    audit = bench.audit()
    assert (audit.checked, audit.missing_count, audit.different_count) == (1, 0, 1)
    assert audit.different[0].value == 0.52


def test_only_the_day_that_was_asked_for(bench: Bench, payload: Build, reading: Build) -> None:
    bench.take_in([payload([reading()], seq=0)])
    bench.take_in([payload([reading(measured_at="2026-07-02T07:00:00Z")], seq=1)], later_ms=DAY_MS)
    bench.write_all()
    assert [bench.audit(day=day).checked for day in ("2026-07-01", "2026-07-02", "2026-07-03")] == [1, 1, 0]
    assert bench.audit().checked == 2


def test_statuses_become_the_gateways_claims(bench: Bench) -> None:
    status = (
        b'{"state": "online", "boot_id": "b2", "since": "2026-07-01T08:00:00Z", "next_seq": 7, '
        b'"outbox": [["b1", 3, 9]]}'
    )
    bench.take_in([status], topic="gateways/gw-a/status")
    claims = bench.audit().claims["gw-a"]
    assert (claims.next_seqs, claims.kept) == ({"b2": 7, "b1": 9}, {"b1": [(3, 8)]})
