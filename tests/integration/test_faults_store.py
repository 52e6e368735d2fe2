"""A store that is away, and a store that is filled again from the journal."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.outbox import read_account as read_outbox
from ingest.store.opening import open_store
from ingest.store.ports import Store
from poolwatch.clock import system_clock_ms
from tests.integration.fault_bench import Bench, needs_mosquitto, pool_of, until
from tests.integration.fault_postman import Postman, reading
from tests.integration.fault_verdicts import Sent

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(240)]
#: The store stays locked for so long.
_AWAY_S = 20.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, ("g1", "g2"))
    for name in ("broker", "ingest"):
        bench.start(name)
    bench.until_ready()
    yield bench
    bench.close()


def test_a_store_that_is_away_holds_up_neither_broker_nor_gateways(bench: Bench) -> None:
    bench.start_gateway("g1")
    until(lambda: len(bench.stored()) > 20, "readings are stored")
    with closing(sqlite3.connect(bench.folder.root / "store.sqlite", isolation_level=None)) as locker:
        locker.execute("BEGIN EXCLUSIVE")
        locked_s = time.monotonic()
        stored = len(bench.stored())
        begin = bench.journalled()
        looks = 0
        while time.monotonic() - locked_s < _AWAY_S:
            # The journal grows, receipts come, the outbox stays small, however long the store is away.
            before, receipted = bench.journalled(), bench.receipted("g1")
            until(lambda before=before: bench.journalled() > before + 20, "the journal grows")  # type: ignore[misc]
            until(lambda at=receipted: bench.receipted("g1") > at + 20, "receipts come")  # type: ignore[misc]
            looks += 1
        assert looks > 1
        assert len(bench.stored()) <= stored + 1
        assert bench.journalled() > begin + 100
        locker.execute("ROLLBACK")
    bench.settle()
    bench.assert_whole(bench.sent("g1"))


def _receipted(bench: Bench) -> int:
    account = read_outbox(bench.folder.outbox("g1"))
    return account.messages_sent - account.messages_pending - account.messages_dead


def test_an_ingest_killed_while_the_store_is_away_goes_on_taking_messages(bench: Bench) -> None:
    bench.start_gateway("g1")
    until(lambda: len(bench.stored()) > 20, "readings are stored")
    with closing(sqlite3.connect(bench.folder.root / "store.sqlite", isolation_level=None)) as locker:
        locker.execute("BEGIN EXCLUSIVE")
        before = bench.journalled()
        until(lambda: bench.journalled() > before + 50, "the journal is ahead of the store")
        bench.kill("ingest")
        locker.execute("ROLLBACK")
        # Not even to be read: no other process can open it.
        locker.execute("PRAGMA locking_mode = EXCLUSIVE")
        locker.execute("BEGIN EXCLUSIVE")
        bench.start_ingest()
        before, receipted = bench.journalled(), _receipted(bench)
        until(lambda: bench.journalled() > before + 100, "the journal grows")
        until(lambda: _receipted(bench) > receipted + 100, "receipts come")
        status, text = bench.readiness()
        assert status == 503
        assert "the store is away" in text
        assert "locked" in text
    until(lambda: "the store is away" not in bench.readiness()[1], "the store is open")
    bench.settle()
    bench.assert_whole(bench.sent("g1"))


def _content(store: Store, bench: Bench) -> dict[str, Any]:
    """All that a store holds of what gateways sent, row by row; without the instants of storing."""
    content: dict[str, Any] = {}
    for gateway_id in bench.gateways:
        pool_id = pool_of(gateway_id)
        for series, columns in store.readings(pool_id, from_ms=0, to_ms=2**52).items():
            arrays = (columns.measured_at_ms, columns.value, columns.status, columns.received_at_ms)
            content[f"{pool_id}/{series}"] = np.column_stack([one.astype(float) for one in arrays]).tolist()
        content[f"{pool_id}/logbook"] = store.logbook(pool_id, from_ms=0, to_ms=2**52)
    content["statuses"] = store.gateway_statuses()
    content["counts"] = store.counts()
    return content


def _state(bench: Bench, gateway_id: str) -> str:
    with closing(bench.open_store()) as store:
        said = store.gateway_statuses().get(gateway_id)
        return "" if said is None else said.state


def test_a_store_filled_again_holds_the_same_and_a_second_time_changes_nothing(bench: Bench) -> None:
    bench.start_gateway("g1")
    now_ms = system_clock_ms()
    postman = Postman(bench, "g2", "by-hand")
    by_hand = [
        Sent(pool_of("g2"), "fc-1", "free_chlorine_mg_l", now_ms - 900 + seq, seq / 1000)
        for seq in range(800)
    ]
    for seq, one in enumerate(by_hand):
        postman.send(2 * seq, reading(one.measured_at_ms, one.value))
        postman.send_entry(2 * seq + 1, one.measured_at_ms, f"entry {seq}: 泳池")
        if seq % 100 == 50:
            postman.say(next_seq=2 * seq + 2)
            bench.kill("ingest")
            bench.start_ingest()
        if seq == 400:
            bench.kill("g1")
            bench.start_gateway("g1")
    # Refused items, a clone, and a conflict: they are in no store, the old nor the new.
    postman.send(1600, reading(now_ms + 7_200_000, 1.0), reading(now_ms, 0.4))
    postman.send(1601, reading(now_ms, 0.9))
    by_hand.append(Sent(pool_of("g2"), "fc-1", "free_chlorine_mg_l", now_ms, 0.4))
    postman.until_receipted(range(1602))
    postman.say(next_seq=1602, state="offline")
    until(lambda: _state(bench, "g2") == "offline", "the last status is stored")
    postman.leave()
    bench.settle()
    bench.assert_whole([*bench.sent("g1"), *by_hand])

    into = f"sqlite:{bench.folder.root / 'new.sqlite'}"
    assert bench.run("journal", "rebuild", "--into", into).returncode == 0
    with closing(bench.open_store()) as old, closing(open_store(into)) as new:
        before = _content(old, bench)
        assert len(before[f"{pool_of('g2')}/logbook"]) == 800
        assert set(before["statuses"]) == {"g1", "g2"}
        assert _content(new, bench) == before
        arrivals = new.arrivals_after(None)
    again = bench.run("journal", "rebuild", "--into", into)
    assert again.returncode == 0
    assert "0 readings stored" in again.stdout
    with closing(open_store(into)) as new:
        assert _content(new, bench) == before
        assert new.arrivals_after(None) == arrivals
    # The new store closes the account as the old one did.
    done = bench.run("reconcile", "--store", into)
    assert done.returncode == 0, done.stdout
