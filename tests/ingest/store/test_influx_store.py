"""What only the store in InfluxDB does: few questions, positions, several ingests, cursors across processes."""

from collections.abc import Iterator

import pytest

from analytics.shard import Shard
from ingest.store import influx_log
from ingest.store.batches import IngestBatch, WriteOutcome, batch_of_rows
from ingest.store.influx import InfluxStore
from ingest.store.influx_address import InfluxAddress
from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_questions import Question
from ingest.store.ports import StoreRejectedError
from ingest.store.records import (
    Arrival,
    ArrivalKind,
    LogbookRow,
    PublicationRow,
    PublishedValue,
    ReadingRow,
    RegistryVersionRow,
    SeriesKey,
    VerdictRow,
)

pytestmark = pytest.mark.integration
HOUR_MS = 3_600_000
T0 = 500_000 * HOUR_MS


def row(
    at_ms: int = T0, value: float | None = 0.5, *, sensor: str = "fc-1", seq: int = 0, position: int = 0
) -> ReadingRow:
    return ReadingRow("p1", sensor, "ph", at_ms, value, "normal", T0 + 10, "gw-a", "b1", seq, position)


def write(store: InfluxStore, *rows: ReadingRow, stored_at_ms: int = T0 + 20) -> WriteOutcome:
    return store.write(IngestBatch(readings=batch_of_rows(rows)), stored_at_ms=stored_at_ms)


@pytest.fixture
def store(influx_address: InfluxAddress) -> Iterator[InfluxStore]:
    opened = InfluxStore(influx_address)
    yield opened
    opened.close()


@pytest.fixture
def other(influx_address: InfluxAddress) -> Iterator[InfluxStore]:
    opened = InfluxStore(influx_address)
    yield opened
    opened.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the questions asked from here on."""
    names: list[str] = []
    ask = InfluxConnection.ask

    def note(connection: InfluxConnection, question: Question) -> bytes:
        names.append(question.name)
        return ask(connection, question)

    monkeypatch.setattr(InfluxConnection, "ask", note)
    return names


def test_what_is_newer_needs_no_question_and_a_backlog_behind_a_jump_neither(
    store: InfluxStore, asked: list[str]
) -> None:
    write(store, row(T0))
    assert asked == ["newest instants"]
    asked.clear()
    newest_ms = T0 + 24 * HOUR_MS
    write(store, row(newest_ms, seq=1000))
    for step in range(1, 20):
        sent = [row(T0 + step * HOUR_MS + n, seq=step, position=n) for n in range(5)]
        assert write(store, *sent, row(newest_ms + step, seq=1000 + step)).stored == 6
    assert asked == []
    # What was written is asked for when it comes again.
    assert write(store, row(T0 + HOUR_MS, seq=1)) == WriteOutcome(stored=0)
    assert "stored readings" in asked


def test_after_a_restart_one_question_finds_the_hole_of_a_backlog(
    store: InfluxStore, other: InfluxStore, asked: list[str]
) -> None:
    write(store, row(T0), row(T0 + 24 * HOUR_MS, seq=1))
    write(other, row(T0 + 60_000, seq=2))
    assert asked.count("stored readings") == 1
    asked.clear()
    for step in range(2, 20):
        assert write(other, row(T0 + step * 60_000, seq=step + 2)).stored == 1
    assert asked == []


def test_a_later_message_adds_a_series_and_leaves_the_others_as_they_are(store: InfluxStore) -> None:
    write(store, row(sensor="b"), row(sensor="d", position=1), stored_at_ms=T0 + 20)
    later = row(sensor="a", seq=7)._replace(received_at_ms=T0 + 500)
    assert write(store, later, stored_at_ms=T0 + 600).stored == 1
    found = store.readings("p1", from_ms=T0, to_ms=T0 + 1)
    told = {
        key.sensor_id: (columns.received_at_ms.tolist(), columns.stored_at_ms.tolist())
        for key, columns in found.items()
    }
    assert told == {
        "a": ([T0 + 500], [T0 + 600]),
        "b": ([T0 + 10], [T0 + 20]),
        "d": ([T0 + 10], [T0 + 20]),
    }


def test_a_conflict_names_the_position_of_the_stored_reading(store: InfluxStore) -> None:
    sent = [row(sensor=sensor, value=0.5, seq=5, position=n) for n, sensor in enumerate("zam")]
    write(store, *sent)
    write(store, row(sensor="b", seq=6))  # another message brought it, between the others by name
    for reading in sent:
        earlier = reading._replace(value=0.75, seq=4, position=9)
        assert write(store, earlier).conflicts == (reading,)
    for reading in sent:  # and again, now that it was replaced
        earliest = reading._replace(value=0.8, seq=3, position=8)
        assert write(store, earliest).conflicts == (reading._replace(value=0.75, seq=4, position=9),)


def test_a_null_and_a_value_replace_each_other(store: InfluxStore) -> None:
    key = SeriesKey("fc-1", "ph")
    for seq, value in [(9, 0.5), (8, None), (7, 0.25), (6, None), (5, 0.125)]:
        sent = row(value=value, seq=seq)._replace(status="normal" if value else "fault")
        write(store, sent)
        (columns,) = store.latest("p1").values()
        assert store.latest("p1").keys() == {key}
        assert columns.value.tolist() == [value] if value else columns.value[0] != columns.value[0]
        assert columns.status.tolist() == [0 if value else 5]
        assert store.readings_by_pool(from_ms=0, to_ms=2 * T0) == {"p1": 1}


def test_two_ingests_agree_on_what_the_other_wrote_before(store: InfluxStore, other: InfluxStore) -> None:
    write(store, row(T0))
    write(other, row(T0 + 1000, seq=1))
    # Each asks for what is not newer than what it knows: the same message is a repeated one, another one in conflict.
    assert write(other, row(T0)) == WriteOutcome(stored=0)
    late = row(T0, 0.9, seq=3)
    assert write(other, late).conflicts == (late,)
    assert sum(one.rows for one in store.arrivals_after(None)[0]) == 2


def test_two_ingests_with_one_instant_leave_one_reading(store: InfluxStore, other: InfluxStore) -> None:
    write(store, row(T0)), write(other, row(T0 - 1))
    # Both hold the instant for new: what slips through is one reading, told of by both.
    assert write(store, row(T0 + 5, 0.5, seq=1)).stored == 1
    assert write(other, row(T0 + 5, 0.9, seq=2)._replace(received_at_ms=T0 + 11)).stored in (0, 1)
    assert store.readings_by_pool(from_ms=T0 + 5, to_ms=T0 + 6) == {"p1": 1}


def test_a_cursor_goes_on_in_another_process_without_repeating(
    store: InfluxStore, other: InfluxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx_log, "_POINTS", 2)
    monkeypatch.setattr(influx_log, "_ENTRIES_OF_A_POINT", 3)
    writers = [store, other]
    for step in range(8):
        rows = [
            row(T0 + (10 * step + n) * HOUR_MS, seq=step)._replace(pool_id=f"p{step % 3}") for n in range(4)
        ]
        write(writers[step % 2], *rows)
    everything = store.arrivals_after(None)[0]
    assert len(everything) == 32
    found: list[Arrival] = []
    cursor = None
    for turn in range(40):
        page, cursor = writers[turn % 2].arrivals_after(cursor, limit=3)
        found += page
    assert found == everything
    assert other.arrivals_after(cursor) == ([], cursor)
    page, cursor = store.arrivals_after(None, limit=7)
    store.write_results(verdicts=[], states=[], progress=cursor)
    assert other.readings_waiting() == 25
    with pytest.raises(StoreRejectedError, match="cursor"):
        store.write_results(verdicts=[], states=[], progress="17")


def test_untold_facts_of_an_earlier_life_are_told(
    store: InfluxStore, other: InfluxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = LogbookRow("p1", "closure", T0, T0, "gw-a", "b1", 5, 0, b"{}")
    version = RegistryVersionRow("aa", T0, "pools")
    batch = IngestBatch(readings=batch_of_rows([row()]), logbook=[entry], registry_versions=[version])
    publication = PublicationRow(
        "p1", T0, "h", "r", "open", (PublishedValue("ph", "fc-1", T0, 7.0, "normal"),)
    )

    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(influx_log.Log, "tell", end)
        with pytest.raises(KeyboardInterrupt):
            store.write(batch, stored_at_ms=T0 + 20)
        with pytest.raises(KeyboardInterrupt):
            store.write_publications([publication], stored_at_ms=T0 + 20)
    assert other.arrivals_after(None)[0] == []
    for _ in range(2):
        assert other.write(batch, stored_at_ms=T0 + 90).stored == 0
        other.write_publications([publication], stored_at_ms=T0 + 90)
        told = other.arrivals_after(None)[0]
        assert {one.stored_at_ms for one in told} == {T0 + 20}
        assert sorted((one.kind, one.pool_id, one.rows) for one in told) == [
            (ArrivalKind.LOGBOOK, "p1", 1),
            (ArrivalKind.PUBLICATION, "p1", 1),
            (ArrivalKind.READINGS, "p1", 1),
            (ArrivalKind.REGISTRY, "", 1),
        ]


def test_records_of_one_instant_keep_apart(store: InfluxStore) -> None:
    entries = [LogbookRow("p1", "closure", T0, T0, "gw-a", "b1", 5, n, b"{}") for n in range(5)]
    store.write(IngestBatch(logbook=entries), stored_at_ms=T0)
    store.write(IngestBatch(logbook=[*entries, entries[0]._replace(seq=6)]), stored_at_ms=T0)
    assert store.logbook("p1", from_ms=T0, to_ms=T0 + 1) == [*entries, entries[0]._replace(seq=6)]
    verdicts = [VerdictRow(f"v{n}", 1, "lapse", "p1", "open", T0, None, T0, b"{}") for n in range(20)]
    store.write_results(verdicts=verdicts, states=[])
    assert {one.verdict_id for one in store.verdicts("p1")} == {f"v{n}" for n in range(20)}
    published = [PublicationRow("p1", T0, f"h{n}", f"r{n % 2}", "open", ()) for n in range(6)]
    store.write_publications(published, stored_at_ms=T0)
    assert store.counts().publications == 6


def test_a_registry_of_megabytes_comes_back(store: InfluxStore) -> None:
    text = '# 游泳池 "quoted" \\\n[pools.p]\n' * 80_000
    store.write(IngestBatch(registry_versions=[RegistryVersionRow("aa", T0, text)]), stored_at_ms=T0)
    assert store.registry_text() == text


def test_each_reader_has_its_own_progress(store: InfluxStore) -> None:
    readers = (Shard().name, Shard(1, 2).name, Shard(2, 2).name)
    for number, reader in enumerate(readers):
        store.write_results(verdicts=[], states=[], progress=f'{{"w":[{number},0]}}', reader=reader)
    assert [store.progress(reader) for reader in readers] == [f'{{"w":[{number},0]}}' for number in range(3)]
    assert store.progress(Shard(3, 3).name) is None


def test_a_series_twice_in_a_publication_is_refused(store: InfluxStore) -> None:
    shown = PublishedValue("ph", "fc-1", T0, 7.0, "normal")
    with pytest.raises(StoreRejectedError, match="twice"):
        store.write_publications(
            [PublicationRow("p1", T0, "h", "r", "open", (shown, shown))], stored_at_ms=T0
        )
