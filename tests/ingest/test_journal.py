import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract.registry import Registry
from ingest.errors import JournalError, JournalUnavailableError
from ingest.journal import Journal, read_account, verify_journal
from ingest.journal_records import Appended, Entry, GatewayAccount, Outcome
from ingest.quarantine import count_quarantine, read_quarantine
from ingest.validation import assess, build_rows

TOPIC = "pools/north/gateways/gw-a/readings"
STATUS = b'{"state": "online", "boot_id": "b1", "since": "2026-07-01T08:00:00Z"}'
Build = Callable[..., Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ingest" / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal(path)
    yield opened
    opened.close()


@pytest.fixture
def entry(registry: Registry, now_ms: int) -> Callable[..., Entry]:
    def build(payload: bytes, *, topic: str = TOPIC, retained: bool = False) -> Entry:
        found = assess(topic=topic, payload=payload, registry=registry, received_at_ms=now_ms)
        return Entry(topic, payload, now_ms, found, retained=retained)

    return build


@pytest.fixture
def message(entry: Build, payload: Build, reading: Build) -> Callable[..., Entry]:
    """A good message of one reading."""

    def build(seq: int, *, value: float = 0.5, boot_id: str = "b1") -> Entry:
        built: Entry = entry(payload([reading(value=value)], seq=seq, boot_id=boot_id))
        return built

    return build


def _account(journal: Journal, gateway_id: str = "gw-a") -> GatewayAccount:
    (found,) = [account for account in journal.account() if account.gateway_id == gateway_id]
    return found


def test_messages_are_kept_as_they_came_and_in_order(journal: Journal, message: Build) -> None:
    entries = [message(seq) for seq in range(3)]
    assert journal.append_many(entries) == [Appended.NEW] * 3
    kept = journal.read_after(0)
    assert [(one.message_id, one.topic, one.payload, one.outcome) for one in kept] == [
        (index + 1, TOPIC, entry.payload, Outcome.ACCEPTED) for index, entry in enumerate(entries)
    ]
    assert [one.message_id for one in journal.read_after(1, limit=1)] == [2]


def test_the_same_bytes_again_are_counted_and_not_kept(journal: Journal, message: Build) -> None:
    assert journal.append_many([message(0), message(0)]) == [Appended.NEW, Appended.DUPLICATE]
    assert journal.append_many([message(0), message(1)]) == [Appended.DUPLICATE, Appended.NEW]
    assert len(journal.read_after(0)) == 2
    account = _account(journal)
    assert (account.messages, account.readings) == (2, 2)
    assert (account.duplicate_messages, account.duplicate_readings) == (2, 2)


def test_other_bytes_of_one_seq_are_kept_as_cloned_once(journal: Journal, path: Path, message: Build) -> None:
    assert journal.append_many([message(0, value=0.5), message(0, value=0.6)]) == [
        Appended.NEW,
        Appended.CLONED,
    ]
    assert journal.append_many([message(0, value=0.6), message(0, value=0.5)]) == [Appended.DUPLICATE] * 2
    assert [one.outcome for one in journal.read_after(0)] == [Outcome.ACCEPTED, Outcome.CLONED]
    (refusal,) = read_quarantine(path)
    assert (refusal.message_id, refusal.position, refusal.code) == (2, None, "cloned")
    account = _account(journal)
    assert (account.messages, account.readings, account.cloned_messages) == (1, 1, 1)


def test_the_same_bytes_for_another_pool_are_a_clone(journal: Journal, message: Build, now_ms: int) -> None:
    first = message(0)
    moved = Entry("pools/south/gateways/gw-a/readings", first.payload, now_ms, first.assessment)
    assert journal.append_many([first, moved]) == [Appended.NEW, Appended.CLONED]


def test_refused_items_and_messages_are_in_quarantine_with_reason_and_excerpt(
    journal: Journal, path: Path, entry: Build, payload: Build, reading: Build
) -> None:
    mixed = payload([reading(), reading(sensor_id="fc-9"), reading(value=0.9)], seq=0)
    results = journal.append_many([entry(mixed), entry(b"{oh"), entry(payload([reading()]), topic="pools/x")])
    assert results == [Appended.NEW, Appended.REFUSED, Appended.REFUSED]
    found = [(one.gateway_id, one.position, one.code) for one in read_quarantine(path)]
    assert found == [("", None, "bad_topic"), ("gw-a", None, "malformed_json"), ("gw-a", 1, "unknown_sensor")]
    newest, malformed, item = read_quarantine(path)
    assert malformed.excerpt == "{oh"
    assert '"fc-9"' in item.excerpt
    assert '"fc-1"' not in item.excerpt
    assert newest.excerpt.startswith('{"schema": 1')
    assert count_quarantine(path) == {"bad_topic": 1, "malformed_json": 1, "unknown_sensor": 1}
    assert len(read_quarantine(path, limit=2)) == 2
    account = _account(journal)
    assert (account.messages, account.readings) == (2, 3)
    assert (account.quarantined_messages, account.quarantined_readings) == (1, 1)


def test_an_unreadable_message_is_kept_once(journal: Journal, entry: Build) -> None:
    assert journal.append_many([entry(b"{oh"), entry(b"{oh"), entry(b"{ah")]) == [
        Appended.REFUSED,
        Appended.DUPLICATE,
        Appended.REFUSED,
    ]


def test_each_status_is_kept_but_not_the_broker_s_memory_of_the_last(journal: Journal, entry: Build) -> None:
    topic = "gateways/gw-a/status"
    other = STATUS.replace(b"online", b"offline")

    def status(payload: bytes, *, retained: bool) -> Entry:
        built: Entry = entry(payload, topic=topic, retained=retained)
        return built

    results = [
        journal.append_many([status(payload, retained=retained)])[0]
        for payload, retained in (
            (STATUS, False),
            (STATUS, False),
            (STATUS, True),
            (other, True),
            (STATUS, True),
        )
    ]
    new, same = Appended.NEW, Appended.DUPLICATE
    assert results == [new, new, same, new, new]
    assert _account(journal).statuses == 4


def test_the_journal_outlives_its_process(path: Path, message: Build) -> None:
    for seq in range(3):
        with closing(Journal(path)) as journal:
            journal.append_many([message(seq), message(0)])
    with closing(Journal(path)) as journal:
        assert journal.seq_ranges("gw-a") == {"b1": [(0, 2)]}
        assert _account(journal).duplicate_messages == 3
        assert journal.verify().broken_at is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.integers(0, 25), max_size=8), max_size=6))
def test_seq_ranges_are_the_seqs_that_came(
    tmp_path_factory: pytest.TempPathFactory, message: Build, batches: list[list[int]]
) -> None:
    with closing(Journal(tmp_path_factory.mktemp("journal") / "journal.sqlite")) as journal:
        for seqs in batches:
            journal.append_many([message(seq) for seq in seqs])
        ranges = journal.seq_ranges("gw-a").get("b1", [])
        assert [seq for first, last in ranges for seq in range(first, last + 1)] == sorted(
            {seq for seqs in batches for seq in seqs}
        )
        assert all(left[1] + 1 < right[0] for left, right in pairwise(ranges))
        assert journal.verify().broken_at is None


def test_boots_have_seqs_of_their_own(journal: Journal, message: Build) -> None:
    journal.append_many([message(0), message(0, boot_id="b2"), message(2, boot_id="b2")])
    assert journal.seq_ranges("gw-a") == {"b1": [(0, 0)], "b2": [(0, 0), (2, 2)]}
    assert _account(journal).boots == 2


@pytest.mark.parametrize(
    ("tampering", "broken_at"),
    [
        ("UPDATE message SET payload = replace(payload, '0.5', '0.6') WHERE id = 3", 3),
        ("UPDATE message SET received_at_ms = received_at_ms + 1 WHERE id = 2", 2),
        ("UPDATE message SET outcome = 'refused' WHERE id = 4", 4),
        ('UPDATE message SET refused = \'[[0,"x","y"]]\' WHERE id = 1', 1),
        ("DELETE FROM message WHERE id = 3", 3),
        ("DELETE FROM message WHERE id = 5", 5),
        ("UPDATE message SET hash = zeroblob(32) WHERE id = 5", 5),
    ],
)
def test_tampering_shows_at_the_message_that_was_touched(
    journal: Journal, path: Path, message: Build, tampering: str, broken_at: int
) -> None:
    journal.append_many([message(seq) for seq in range(5)])
    whole = journal.verify()
    assert (whole.messages, whole.broken_at) == (5, None)
    assert len(bytes.fromhex(whole.head)) == 32
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(tampering).rowcount == 1
        connection.commit()
    found = verify_journal(path)
    assert found.broken_at == broken_at
    assert found.reason


def test_a_full_disk_takes_nothing_and_the_same_call_succeeds_later(journal: Journal, message: Build) -> None:
    journal.append_many([message(0)])
    (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    more = [message(seq) for seq in range(1, 400)]
    with pytest.raises(JournalUnavailableError, match="full"):
        journal.append_many(more)
    assert len(journal.read_after(0)) == 1
    journal._connection.execute("PRAGMA max_page_count = 1000000")
    assert journal.append_many(more) == [Appended.NEW] * 399
    assert journal.verify().messages == 400


def test_the_writer_s_cursor_and_what_the_store_refused(
    journal: Journal, path: Path, entry: Build, payload: Build, reading: Build, now_ms: int
) -> None:
    good = payload([reading(), reading(value=0.7)])
    journal.append_many([entry(good)])
    assert (_account(journal).in_flight_messages, _account(journal).in_flight_readings) == (1, 2)
    row = build_rows(topic=TOPIC, payload=good, received_at_ms=now_ms, refused=set()).readings[1]
    for _ in range(2):  # a repeated write tells the same conflict
        journal.advance(1, refused=[(row, "conflict", "another value stands")], store_duplicates=3)
    assert journal.cursor() == 1
    account = _account(journal)
    assert (account.in_flight_messages, account.in_flight_readings) == (0, 0)
    assert (account.readings, account.quarantined_readings) == (2, 1)
    (refusal,) = read_quarantine(path)
    assert (refusal.position, refusal.code) == (1, "conflict")
    assert '"value":0.7' in refusal.excerpt.replace(" ", "")
    assert read_account(path).store_duplicates == 6
    assert journal.verify().broken_at is None


def test_readers_work_while_the_journal_is_open_and_after(path: Path, message: Build) -> None:
    with closing(Journal(path)) as journal:
        journal.append_many([message(0)])
        assert read_account(path).messages == 1
        assert verify_journal(path).messages == 1
    assert read_account(path).gateways[0].readings == 1


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal"):
        read_quarantine(tmp_path / "absent.sqlite")
    other = tmp_path / "other.sqlite"
    other.write_bytes(b"no database at all, but long enough to be looked at" * 40)
    with pytest.raises(JournalError, match="not a database"):
        Journal(other)
    newer = tmp_path / "newer.sqlite"
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer"):
        Journal(newer)
