"""Logged, then served, then stored: through restarts, a store that is away, and a log that cannot be written."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from dashboards.public.publication_log import PublicationLogError
from ingest.store.ports import StoreUnavailableError
from ingest.store.records import SeriesKey

T0 = 1_782_892_800_000
FC = SeriesKey("fc-1", "free_chlorine_mg_l")


def published(service: Any) -> list[tuple[int, int]]:
    columns = service.store.publications("p1", from_ms=0, to_ms=T0 * 2).get(FC)
    if columns is None:
        return []
    return list(zip(columns.published_at_ms.tolist(), columns.measured_at_ms.tolist(), strict=True))


def test_what_analytics_wrote_is_served_logged_and_stored(
    service: Any, make_state: Any, make_value: Any
) -> None:
    service.judge(make_state(make_value()))
    assert service.states.step() == 1
    served = service.board.get("p1").snapshot
    assert served["values"][0]["value"] == 0.52
    assert [row.content_hash for _, row in service.log.unstored()] == [served["hash"]]
    assert published(service) == []
    service.publications.drain()
    assert published(service) == [(T0, T0)]
    assert service.log.unstored() == []


def test_the_same_facts_are_not_published_twice(service: Any, make_state: Any, make_value: Any) -> None:
    service.judge(make_state(make_value()))
    service.states.step()
    service.clock.now_ms += 5000
    service.judge(make_state(make_value(), at_ms=T0 + 5000))
    assert service.states.step() == 0
    assert len(service.log.unstored()) == 1


def test_a_pool_is_published_at_most_once_a_second_and_then_with_its_newest(
    service: Any, make_state: Any, make_value: Any
) -> None:
    for offset in (0, 300, 600):
        service.clock.now_ms = T0 + offset
        service.judge(make_state(make_value(0.5 + offset / 10_000, measured_at_ms=T0 + offset)))
        service.states.step()
    assert service.board.get("p1").snapshot["values"][0]["value"] == 0.5
    assert service.board.next_due_ms() == T0 + 1000
    service.clock.now_ms = T0 + 1000
    assert service.states.step() == 1
    assert service.board.get("p1").snapshot["values"][0]["value"] == 0.56
    assert len(service.log.unstored()) == 2


def test_nothing_is_served_that_the_log_does_not_have(
    service: Any, make_state: Any, make_value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.judge(make_state(make_value()))

    def full(_rows: object) -> None:
        raise PublicationLogError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(service.log, "append", full)
        with pytest.raises(PublicationLogError):
            service.states.step()
        assert service.board.get("p1").snapshot["state"] == "not_connected"
    assert service.states.step() == 1  # the state was not forgotten
    assert service.board.get("p1").snapshot["state"] == "in_standard"


def test_a_restart_serves_what_is_in_force_and_stores_what_was_not(
    service: Any, make_state: Any, make_value: Any, restart: Callable[[Any], Any]
) -> None:
    service.judge(make_state(make_value()))
    service.states.step()
    service.clock.now_ms += 30_000
    again = restart(service)
    assert again.board.get("p1").snapshot["values"][0]["value"] == 0.52
    again.publications.drain()
    assert published(again) == [(T0, T0)]
    again.log.close()


def test_a_restart_after_the_deadline_serves_no_number(
    service: Any, make_state: Any, make_value: Any, restart: Callable[[Any], Any]
) -> None:
    service.judge(make_state(make_value()))
    service.states.step()
    service.clock.now_ms += 60_000
    again = restart(service)
    snapshot = again.board.get("p1").snapshot
    assert (snapshot["values"][0]["value"], snapshot["state"]) == (None, "overdue")
    again.log.close()


def test_a_number_leaves_at_its_deadline_while_analytics_and_store_are_silent(
    service: Any, make_state: Any, make_value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.judge(make_state(make_value()))
    service.states.step()

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(type(service.store), "pool_states_after", away)
    service.clock.now_ms = T0 + 59_999
    assert service.states.step() == 0
    service.clock.now_ms = T0 + 60_000
    assert (
        json.loads(service.board.get("p1").body)["values"][0]["value"] is None
    )  # even before anybody published it
    assert service.states.step() == 1
    assert service.board.counters.withheld == 1
    assert service.site.freshness.store_error == "away"


def test_a_publication_is_tried_until_the_store_has_it(
    service: Any, make_state: Any, make_value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.judge(make_state(make_value()))
    service.states.step()

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(type(service.store), "write_publications", away)
        with pytest.raises(StoreUnavailableError):
            service.publications.drain()
    service.publications.drain()
    service.publications.drain()
    assert published(service) == [(T0, T0)]


def test_a_damaged_snapshot_on_disk_is_left_out(
    service: Any, make_state: Any, make_value: Any, restart: Callable[[Any], Any]
) -> None:
    service.judge(make_state(make_value()))
    service.states.step()
    (service.folder / "snapshots" / "p1.json").write_text("{")
    again = restart(service)
    assert again.board.get("p1").snapshot["state"] == "not_connected"
    again.log.close()
