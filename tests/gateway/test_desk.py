"""A person's test or entry: stored, or kept for the next time; nonsense is refused at once."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.contract.logbook import EntryKind, LogbookEntry
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading, ReadingStatus
from gateway.contract.times import format_timestamp
from gateway.desk import Recorded, record_entry, record_test
from gateway.errors import InputError, OutboxHeldError
from gateway.outbox import Outbox, read_account

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker
    from tests.gateway.conftest import IngestPlayer

    PlayIngest = Callable[[bool], IngestPlayer]


def clock() -> int:
    return time.time_ns() // 1_000_000


NOW_MS = 1_780_000_000_000


def enter_test(
    broker: "MosquittoBroker",
    path: Path,
    *,
    fc: float = 0.5,
    by: str = "Li",
    wait_s: float = 10.0,
    port: int | None = None,
) -> Recorded:
    credential = broker.credential("g1")
    return record_test(
        path,
        credential=type(credential)(
            credential.username, credential.password, credential.host, port or credential.port
        ),
        gateway_id="g1",
        pool_id="p1",
        values={Quantity.FREE_CHLORINE_MG_L: fc, Quantity.PH: 7.3},
        by=by,
        method="DPD-1",
        measured_at_ms=NOW_MS,
        clock=clock,
        wait_s=wait_s,
    )


@pytest.mark.integration
def test_a_test_is_stored_when_its_receipt_comes(
    broker: "MosquittoBroker", tmp_path: Path, play_ingest: "PlayIngest"
) -> None:
    ingest = play_ingest(True)
    assert enter_test(broker, tmp_path / "o.sqlite") == Recorded(stored=True, pending=0)
    ingest.order()
    (envelope,) = ingest.envelopes
    assert envelope.items == [
        Reading(
            "manual", quantity, format_timestamp(NOW_MS), value, ReadingStatus.MANUAL, by="Li", method="DPD-1"
        )
        for quantity, value in ((Quantity.FREE_CHLORINE_MG_L, 0.5), (Quantity.PH, 7.3))
    ]


@pytest.mark.integration
def test_what_cannot_be_sent_is_kept_and_goes_with_the_next_command(
    broker: "MosquittoBroker", tmp_path: Path, play_ingest: "PlayIngest"
) -> None:
    path = tmp_path / "o.sqlite"
    broker.stop()
    assert enter_test(broker, path, wait_s=0.2) == Recorded(stored=False, pending=1)
    broker.start()
    ingest = play_ingest(True)
    entry = LogbookEntry(EntryKind.CLOSURE, format_timestamp(NOW_MS), "Li", "cloudy water")
    recorded = record_entry(
        path, credential=broker.credential("g1"), gateway_id="g1", pool_id="p1", entry=entry, clock=clock
    )
    assert recorded == Recorded(stored=True, pending=0)
    ingest.order()
    assert sorted(envelope.kind.value for envelope in ingest.envelopes) == ["logbook", "readings"]
    assert entry in [item for envelope in ingest.envelopes for item in envelope.items]
    assert read_account(path).messages_sent == 2


@pytest.mark.parametrize("fc", [-0.1, 20.1, float("nan"), float("inf")])
def test_a_value_that_no_instrument_reads_is_refused_and_nothing_is_kept(
    broker: "MosquittoBroker", tmp_path: Path, fc: float
) -> None:
    with pytest.raises(InputError, match="not plausible: free_chlorine_mg_l is from 0 to 20 mg/L"):
        enter_test(broker, tmp_path / "o.sqlite", fc=fc)
    assert not (tmp_path / "o.sqlite").exists()


def test_what_ingest_would_refuse_is_refused_at_once(broker: "MosquittoBroker", tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the name"):
        enter_test(broker, tmp_path / "o.sqlite", by=" ")
    with pytest.raises(InputError, match="cannot be recorded"):
        enter_test(broker, tmp_path / "o.sqlite", by="x" * 201)
    with pytest.raises(InputError, match="cannot be recorded"):
        enter_test(broker, tmp_path / "o.sqlite", by="\ud800")
    for entry in (
        LogbookEntry(EntryKind.CALIBRATION, format_timestamp(NOW_MS), "Li"),  # of which sensor?
        LogbookEntry(EntryKind.CLOSURE, "yesterday", "Li"),
    ):
        with pytest.raises(InputError, match="cannot be recorded"):
            record_entry(
                tmp_path / "o.sqlite",
                credential=broker.credential("g1"),
                gateway_id="g1",
                pool_id="p1",
                entry=entry,
                clock=clock,
            )
    assert not (tmp_path / "o.sqlite").exists()


def test_two_desks_at_once_wait_for_each_other(
    broker: "MosquittoBroker", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.desk._WAIT_FOR_OUTBOX_S", 0.3)
    other = Outbox(tmp_path / "o.sqlite")
    with pytest.raises(OutboxHeldError, match="in use by another process"):
        enter_test(broker, tmp_path / "o.sqlite")
    other.close()
