from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ingest.errors import JournalError
from ingest.journal.account import read_account
from ingest.journal.journal import Journal
from ingest.journal.quarantine import count_quarantine, read_quarantine
from ingest.journal.records import Appended, Outcome
from ingest.journal.verification import verify_journal

NEW, AGAIN, REFUSED, CLONED = Appended.NEW, Appended.DUPLICATE, Appended.REFUSED, Appended.CLONED
STATUS = b'{"state": "online", "boot_id": "b1", "since": "2026-07-01T08:00:00Z"}'
DAY_MS = 86_400_000
Build = Callable[..., Any]


def test_messages_are_kept_as_they_came_and_in_order(book: Any, letter: Build) -> None:
    letters = [letter(seq) for seq in range(3)]
    done = book.append(letters)
    assert (done.results, done.first_id, done.last_id) == ([NEW] * 3, 1, 3)
    kept = book.journal.read_after(0)
    assert [(one.message_id, one.payload, one.outcome) for one in kept] == [
        (index + 1, one.payload, Outcome.ACCEPTED) for index, one in enumerate(letters)
    ]
    assert [one.message_id for one in book.journal.read_after(1, limit=1)] == [2]
    empty = book.append([])
    assert (empty.results, empty.first_id, empty.last_id) == ([], 4, 3)


def test_the_same_bytes_again_are_counted_and_not_kept(book: Any, letter: Build) -> None:
    assert book.results(letter(0), letter(0)) == [NEW, AGAIN]
    done = book.append([letter(0), letter(1)])
    assert (done.results, done.first_id, done.last_id) == ([AGAIN, NEW], 2, 2)
    book.journal.checkpoint()
    assert len(book.journal.read_after(0)) == 2
    tally = book.tally()
    assert (tally.messages, tally.readings) == (2, 2)
    assert (tally.duplicate_messages, tally.duplicate_readings) == (2, 2)


def test_other_bytes_of_one_seq_are_kept_as_cloned_once(book: Any, letter: Build) -> None:
    assert book.results(letter(0, value=0.5), letter(0, value=0.6)) == [NEW, CLONED]
    assert book.results(letter(0, value=0.6), letter(0, value=0.5)) == [AGAIN, AGAIN]
    assert [one.outcome for one in book.journal.read_after(0)] == [Outcome.ACCEPTED, Outcome.CLONED]
    (refusal,) = read_quarantine(book.folder)
    assert (refusal.message_id, refusal.position, refusal.code) == (2, None, "cloned")
    tally = book.tally()
    assert (tally.messages, tally.readings, tally.cloned_messages) == (1, 1, 1)


def test_the_same_bytes_for_another_pool_are_a_clone(book: Any, letter: Build) -> None:
    first = letter(0)
    topic = "pools/south/gateways/gw-a/readings"
    moved = book.journal.append_many(
        [first.message, type(first.message)(topic, first.payload, first.message.received_at_ms)],
        [first.assessment] * 2,
    )
    assert moved.results == [NEW, CLONED]


def test_what_came_long_ago_is_compared_byte_by_byte(book: Any, letter: Build) -> None:
    """Looked for in every form that the index has: memory, the open day, a compressed day."""
    old = [letter(seq) for seq in range(5)]
    book.append(old)
    book.journal.close()
    book.open()
    assert book.results(*old, letter(2, value=0.9)) == [AGAIN] * 5 + [CLONED]
    assert book.results(letter(5, at_ms=letter(0).message.received_at_ms + DAY_MS)) == [NEW]
    while book.journal.maintain(0):
        pass
    assert [path.name for path in sorted(book.folder.glob("*.packed.sqlite"))] == ["2026-07-01.packed.sqlite"]
    assert book.results(*old, letter(2, value=0.9), letter(3, value=0.9)) == [AGAIN] * 6 + [CLONED]


def test_refused_items_and_messages_are_in_quarantine_with_reason_and_excerpt(
    book: Any, post: Build, payload: Build, reading: Build
) -> None:
    mixed = payload([reading(), reading(sensor_id="fc-9"), reading(value=0.9)], seq=0)
    assert book.results(post(mixed), post(b"{oh"), post(payload([reading()]), topic="pools/x")) == [
        NEW,
        REFUSED,
        REFUSED,
    ]
    for _ in range(2):  # from the messages after the checkpoint, and from the checkpoint
        newest, malformed, item = read_quarantine(book.folder)
        assert (newest.gateway_id, newest.position, newest.code) == ("", None, "bad_topic")
        assert (malformed.gateway_id, malformed.position, malformed.code) == ("gw-a", None, "malformed_json")
        assert (item.gateway_id, item.position, item.code) == ("gw-a", 1, "unknown_sensor")
        assert malformed.excerpt == "{oh"
        assert '"fc-9"' in item.excerpt
        assert '"fc-1"' not in item.excerpt
        assert count_quarantine(book.folder) == {"bad_topic": 1, "malformed_json": 1, "unknown_sensor": 1}
        assert [one.code for one in read_quarantine(book.folder, limit=2)] == ["bad_topic", "malformed_json"]
        assert [one.code for one in read_quarantine(book.folder, pool_id="north", gateway_id="gw-a")] == [
            "malformed_json",
            "unknown_sensor",
        ]
        tally = book.tally()
        assert (tally.messages, tally.readings) == (2, 3)
        assert (tally.quarantined_messages, tally.quarantined_readings) == (1, 1)
        book.journal.checkpoint()


def test_an_unreadable_message_is_kept_once(book: Any, post: Build) -> None:
    assert book.results(post(b"{oh"), post(b"{oh"), post(b"{ah")) == [REFUSED, AGAIN, REFUSED]
    book.journal.close()
    book.open()
    assert book.results(post(b"{oh"), post(b"{uh")) == [AGAIN, REFUSED]


def test_each_status_is_kept_but_not_the_broker_s_memory_of_the_last(book: Any, post: Build) -> None:
    other = STATUS.replace(b"online", b"offline")

    def said(payload: bytes, *, retain: bool) -> Appended:
        result: Appended = book.results(post(payload, topic="gateways/gw-a/status", retain=retain))[0]
        return result

    said_in_turn = [(STATUS, False), (STATUS, False), (STATUS, True), (other, True), (STATUS, True)]
    assert [said(text, retain=retain) for text, retain in said_in_turn] == [NEW, NEW, AGAIN, NEW, NEW]
    assert book.tally().statuses == 4
    book.journal.close()
    book.open()
    assert [said(STATUS, retain=True), said(other, retain=True)] == [AGAIN, NEW]


def test_seqs_are_counted_by_boot_with_their_holes(book: Any, letter: Build) -> None:
    book.append([letter(seq) for seq in (0, 2, 7)])
    book.append([letter(seq, boot_id="b2") for seq in (3, 2)])
    boots = {one.boot_id: one for one in read_account(book.folder).boots}
    assert (boots["b1"].highest, boots["b1"].missing, boots["b1"].holes) == (7, 5, ((1, 1), (3, 6)))
    assert (boots["b2"].highest, boots["b2"].missing, boots["b2"].holes) == (3, 2, ((0, 1),))


def test_days_have_a_file_each_and_never_go_back(book: Any, letter: Build, now_ms: int) -> None:
    book.append([letter(0)])
    book.append([letter(1, at_ms=now_ms + DAY_MS)])
    book.append([letter(2, at_ms=now_ms)])  # the clock stepped back over midnight
    assert [path.name for path in sorted(book.folder.glob("2026-*.sqlite"))] == [
        "2026-07-01.sqlite",
        "2026-07-02.sqlite",
    ]
    assert [one.seq for one in book.journal.read_after(0)] == [0, 1, 2]
    lines = {line.day: line.tally.messages for line in read_account(book.folder).lines}
    assert lines == {"2026-07-01": 1, "2026-07-02": 2}
    assert verify_journal(book.folder).messages == 3
    row = replace_row(book, 2)
    book.journal.advance(3, duplicates=[row])
    late = {line.day: line.tally.store_duplicates for line in read_account(book.folder).lines}
    assert late == {"2026-07-01": 0, "2026-07-02": 1}


def replace_row(book: Any, index: int) -> Any:
    from ingest.validation import build_rows

    message = book.journal.read_after(0)[index]
    rows = build_rows(
        topic=message.topic, payload=message.payload, received_at_ms=message.received_at_ms, refused=set()
    )
    return rows.readings[0]


def test_the_writer_s_cursor_and_what_the_store_said(book: Any, letter: Build) -> None:
    book.append([letter(0, readings=2), letter(1)])
    assert (book.tally().in_flight_messages, book.tally().in_flight_readings) == (2, 3)
    row = replace_row(book, 0)._replace(position=1)
    for _ in range(2):  # a repeated write tells the same conflict
        book.journal.advance(1, refused=[(row, "conflict", "another value stands")])
    book.journal.advance(1, duplicates=[row])
    assert book.journal.cursor() == 1
    tally = book.tally()
    assert (tally.in_flight_messages, tally.in_flight_readings) == (1, 1)
    assert (tally.readings, tally.quarantined_readings, tally.store_duplicates) == (3, 1, 1)
    (refusal,) = read_quarantine(book.folder)
    assert (refusal.message_id, refusal.position, refusal.code) == (1, 1, "conflict")
    book.journal.close()
    book.open()
    assert (book.journal.cursor(), book.tally()) == (1, replace(tally))


def test_a_second_process_is_refused_by_name(book: Any) -> None:
    with pytest.raises(JournalError, match=r"in use by process \d+ \("):
        Journal(book.folder)
