"""Releases after a registry change, by force, refused by the store; with ingest running and without."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.contract.registry_file import parse_registry
from ingest.errors import JournalError
from ingest.journal.quarantine import explain, read_quarantine
from ingest.journal.records import Appended
from ingest.journal.releasing import read_releases, release
from ingest.validation import build_rows

Build = Callable[..., Any]
_MORE = """
[[pools.north.sensors]]
id = "fc-9"
quantity = "free_chlorine_mg_l"
place = "supply"
interval_s = 60
[gateways.gw-new]
pools = ["north"]
"""


@pytest.fixture
def later_registry(registry_text: str) -> Any:
    """The registry once somebody has added a sensor and a gateway."""
    return parse_registry(registry_text + _MORE)


@pytest.fixture
def ask(book: Any, later_registry: Any, now_ms: int) -> Build:
    def build(**changed: Any) -> Any:
        asked = {"registry": later_registry, "registry_sha256": "ab" * 32, "who": "Li", "now_ms": now_ms}
        return release(book.folder, **(asked | changed))

    return build


def _rows_to_write(one: Any) -> list[int]:
    rows = build_rows(
        topic=one.message.topic,
        payload=one.message.payload,
        received_at_ms=one.message.received_at_ms,
        refused=one.refused,
    )
    return [row.position for row in rows.readings]


def _owed(book: Any, gateway_id: str = "gw-a") -> tuple[int, int, int]:
    """Readings, those in quarantine, those in flight."""
    tally = book.tally(gateway_id)
    return tally.readings, tally.quarantined_readings, tally.in_flight_readings


def test_items_that_are_good_now_are_written_and_the_others_stay(
    book: Any, post: Build, payload: Build, reading: Build, ask: Build
) -> None:
    mixed = [reading(), reading(sensor_id="fc-9"), reading(sensor_id="fc-8")]
    book.append([post(payload(mixed, seq=0))])
    book.journal.advance(1)
    assert _owed(book) == (3, 2, 0)
    report = ask(code="unknown_sensor")
    assert [one.position for one in report.released] == [1]
    assert [(one.position, one.code) for one in report.kept] == [(2, "unknown_sensor")]
    assert ask().released == ()  # it is under way
    (work,) = book.journal.releases_waiting()
    assert _rows_to_write(work) == [1]
    assert _owed(book) == (3, 2, 0)
    for _ in range(2):  # a kill may have it done twice
        book.journal.released([work])
    assert _owed(book) == (3, 1, 0)
    assert [one.position for one in read_quarantine(book.folder)] == [2]
    assert book.journal.releases_waiting() == []
    ((request, is_done),) = read_releases(book.folder)
    assert (request.who, request.registry_sha256, is_done) == ("Li", "ab" * 32, True)


def test_a_whole_message_is_released_while_ingest_is_away(
    book: Any, post: Build, payload: Build, reading: Build, ask: Build
) -> None:
    items = [reading(), reading(sensor_id="fc-8"), reading(value=0.7)]
    topic = "pools/north/gateways/gw-new/readings"
    book.append([post(payload(items, seq=0, gateway_id="gw-new"), topic=topic)])
    book.journal.advance(1)
    book.journal.close()
    assert _owed(book, "gw-new") == (3, 3, 0)
    assert len(ask(gateway_id="gw-new").released) == 1
    book.open()
    (work,) = book.journal.releases_waiting()
    assert _rows_to_write(work) == [0, 2]
    book.journal.released([work])
    assert _owed(book, "gw-new") == (3, 1, 0)
    (left,) = read_quarantine(book.folder)
    assert (left.position, left.code) == (1, "unknown_sensor")
    assert book.tally("gw-new").quarantined_messages == 0


def test_a_status_is_released(book: Any, post: Build, ask: Build) -> None:
    status = b'{"state": "online", "boot_id": "b1", "since": "2026-07-01T08:00:00Z"}'
    book.append([post(status, topic="gateways/gw-new/status")])
    book.journal.checkpoint()
    assert book.tally("gw-new").quarantined_statuses == 1
    assert len(ask().released) == 1
    book.journal.released(book.journal.releases_waiting())
    assert book.tally("gw-new").quarantined_statuses == 0
    assert read_quarantine(book.folder) == []


def test_a_clone_is_released_only_by_force_with_a_reason(book: Any, letter: Build, ask: Build) -> None:
    assert book.results(letter(0, value=0.5), letter(0, value=0.6)) == [Appended.NEW, Appended.CLONED]
    book.journal.advance(2)
    (kept,) = ask().kept
    assert "by force" in kept.text
    with pytest.raises(JournalError, match="needs a reason"):
        ask(force=True)
    assert len(ask(force=True, reason="two gateways, one of them renamed").released) == 1
    assert _owed(book) == (1, 0, 0)
    book.journal.released(book.journal.releases_waiting())
    assert _owed(book) == (2, 0, 0)
    assert read_quarantine(book.folder) == []


def test_what_the_store_refuses_again_stays(book: Any, letter: Build, ask: Build) -> None:
    one = letter(0)
    book.append([one])
    (row,) = build_rows(
        topic=one.message.topic, payload=one.payload, received_at_ms=one.message.received_at_ms, refused=set()
    ).readings
    book.journal.advance(1, refused=[(row, "store_rejected", "too long")])
    assert len(ask(force=True, reason="mended").released) == 1
    (work,) = book.journal.releases_waiting()
    book.journal.released([work], refused=[(row, "conflict", "another one came")])
    assert _owed(book) == (1, 1, 0)
    (left,) = read_quarantine(book.folder)
    assert (left.code, left.text) == ("conflict", "another one came")
    assert book.journal.releases_waiting() == []


def test_an_explanation_has_all_of_what_was_refused(
    book: Any, post: Build, payload: Build, reading: Build
) -> None:
    whole = payload([reading(), reading(sensor_id="fc-9", value=0.123)], seq=0)
    book.append([post(whole)])
    found = explain(book.folder, 1)
    assert (found.entry.position, found.payload) == (1, whole)
    assert found.refused is not None
    assert b"0.123" in found.refused
    assert b"fc-1" not in found.refused
    assert "registry" in found.advice
    with pytest.raises(JournalError, match="nothing of message 1 at 0"):
        explain(book.folder, 1, 0)
