"""Several writers and readers of one store at once, and a writer killed in the middle of its work."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.ports import Store
from ingest.store.records import (
    ArrivalKind,
    PoolStateRow,
    PublicationRow,
    PublishedValue,
    ReadingRow,
)

HOUR_MS = 3_600_000
T0 = 500_000 * HOUR_MS
_WRITER = """
import sys
from ingest.store.opening import open_store
from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.records import ReadingRow

store, t0 = open_store(sys.argv[1]), int(sys.argv[2])
for batch in range(1_000_000):
    rows = [
        ReadingRow(f"p{n % 3}", "fc-1", "ph", t0 + batch * 100_000 + n, 7.0, "normal", t0, "gw-a", "b1", batch, n)
        for n in range(30)
    ]
    assert store.write(IngestBatch(readings=batch_of_rows(rows)), stored_at_ms=t0 + batch).stored == 30
    print(batch, flush=True)
"""


def row(number: int, *, gateway: str) -> ReadingRow:
    return ReadingRow(
        f"pool-{gateway}", "fc-1", "ph", T0 + number * 60_000, 7.0, "normal", T0, gateway, "b1", number, 0
    )


def test_a_cursor_misses_no_arrival_of_concurrent_writers(open_adapter: Callable[[], Store]) -> None:
    writes, writers = 40, ["gw-a", "gw-b", "gw-c"]
    failures: list[BaseException] = []

    def write_all(store: Store, gateway: str) -> None:
        try:
            for number in range(writes):
                store.write(
                    IngestBatch(readings=batch_of_rows([row(number, gateway=gateway)])), stored_at_ms=T0
                )
                store.write_results(
                    verdicts=[], states=[PoolStateRow(gateway, number * 60_000, "closed", b"{}")]
                )
                shown = PublishedValue("ph", "fc-1", T0 + number * 60_000, 7.0, "normal")
                published = PublicationRow(f"pool-{gateway}", T0 + number, "h", "r", "closed", (shown,))
                store.write_publications([published], stored_at_ms=T0)
        except BaseException as error:  # noqa: BLE001 - reported by the test below
            failures.append(error)

    # Two threads share a store as in one process, the third has its own connections as another process has.
    shared = open_adapter()
    stores = [shared, shared, open_adapter()]
    threads = [threading.Thread(target=write_all, args=pair) for pair in zip(stores, writers, strict=True)]
    watcher = open_adapter()
    for thread in threads:
        thread.start()
    seen = []
    cursor, states_cursor = None, None
    states = []
    deadline = time.monotonic() + 60
    alive = True
    while alive and time.monotonic() < deadline:
        alive = any(thread.is_alive() for thread in threads)  # before the last look
        arrivals, cursor = watcher.arrivals_after(cursor, limit=7)
        while arrivals:
            seen += arrivals
            arrivals, cursor = watcher.arrivals_after(cursor, limit=7)
        found, states_cursor = watcher.pool_states_after(states_cursor)
        states += found
    for thread in threads:
        thread.join()
    assert failures == []
    expected = sorted((f"pool-{gateway}", T0 + n * 60_000) for gateway in writers for n in range(writes))
    rows_of = {kind: sum(one.rows for one in seen if one.kind is kind) for kind in ArrivalKind}
    assert rows_of[ArrivalKind.READINGS] == rows_of[ArrivalKind.PUBLICATION] == len(expected)
    assert len(states) == len(expected)
    assert (watcher.counts().readings, watcher.counts().publications) == (len(expected), len(expected))
    assert sorted(seen) == sorted(watcher.arrivals_after(None)[0])


@pytest.mark.integration
def test_kill_9_of_a_writer_loses_nothing_that_it_acknowledged(
    open_adapter: Callable[[], Store], store_url: str, tmp_path: Path
) -> None:
    reader = open_adapter()
    for round_number in range(3):
        t0 = T0 + round_number * 1000 * HOUR_MS
        acknowledged_file = tmp_path / f"acknowledged-{round_number}"
        with acknowledged_file.open("w") as acknowledged:
            writer = subprocess.Popen(
                [sys.executable, "-c", _WRITER, store_url, str(t0)],
                stdout=acknowledged,
                cwd=Path(__file__).parents[3],
            )
        try:
            deadline = time.monotonic() + 30
            while acknowledged_file.read_bytes().count(b"\n") < 5 + 7 * round_number:
                assert writer.poll() is None, "the writer ended by itself"
                assert time.monotonic() < deadline
                reader.latest("p0")  # other processes read meanwhile
        finally:
            writer.send_signal(signal.SIGKILL)
            assert writer.wait(timeout=10) == -signal.SIGKILL
        batches = acknowledged_file.read_bytes().count(b"\n")
        found = {
            pool: reader.readings(pool, from_ms=t0, to_ms=t0 + 900 * HOUR_MS) for pool in ("p0", "p1", "p2")
        }
        stored: dict[str, set[int]] = {
            pool: set(*(columns.measured_at_ms.tolist() for columns in by_key.values()))
            for pool, by_key in found.items()
        }
        sent = {t0 + batch * 100_000 + n for batch in range(batches) for n in range(30)}
        assert sent <= set().union(*stored.values())
        # At most the one batch in the middle of which it was killed is more, and it is there as a whole.
        assert len(set().union(*stored.values())) - len(sent) in (0, 30)
        for pool, instants in stored.items():
            (latest,) = reader.latest(pool).values()
            assert latest.measured_at_ms.tolist() == [max(instants)]
        # Ingest begins again with what was not acknowledged; what was stored already may not have been told of.
        repeated = [
            ReadingRow(
                f"p{n % 3}",
                "fc-1",
                "ph",
                t0 + batches * 100_000 + n,
                7.0,
                "normal",
                t0,
                "gw-a",
                "b1",
                batches,
                n,
            )
            for n in range(30)
        ]
        open_adapter().write(IngestBatch(readings=batch_of_rows(repeated)), stored_at_ms=t0 + batches + 1)
    arrivals = reader.arrivals_after(None, limit=1_000_000)[0]
    # Each hour with a reading was told of, whatever was stored before a kill and told of after it.
    told = {(arrival.pool_id, arrival.hour_ms) for arrival in arrivals}
    hours = {
        (pool, instant - instant % HOUR_MS)
        for pool in ("p0", "p1", "p2")
        for columns in reader.readings(pool, from_ms=t0, to_ms=t0 + 900 * HOUR_MS).values()
        for instant in columns.measured_at_ms.tolist()
    }
    assert hours <= told
    survivor = open_adapter()
    assert (
        survivor.write(IngestBatch(readings=batch_of_rows([row(0, gateway="gw-z")])), stored_at_ms=T0).stored
        == 1
    )
