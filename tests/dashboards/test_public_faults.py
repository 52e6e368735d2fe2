"""What goes wrong around the public service: stores that lag, clients and requests that come at a bad moment."""

import asyncio
import gzip
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from analytics.results import PoolCondition, Reason, ReasonCode, ValueState, VerdictKind
from dashboards.public import api
from dashboards.public import followers as followers_module
from dashboards.public.board import Subscriber
from dashboards.public.publication_log import PublicationLogError
from dashboards.public.snapshots import build_snapshot, withhold_expired
from gateway.contract.registry import Registry
from ingest.store.records import VerdictRow

T0 = 1_782_892_800_000
MINUTE = 60_000


def snapshot_of(service: Any, state: Any) -> Any:
    pool = service.registry.pools[state.pool_id]
    return build_snapshot(state, pool=pool, registry=service.registry, published_at_ms=T0)


@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
def test_states_that_newer_ones_follow_are_never_published(
    service: Any, make_state: Any, make_value: Any, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(followers_module, "_STATES_AT_ONCE", at_once)
    for n in range(4):
        service.judge(
            make_state(make_value(0.5 + n / 10, measured_at_ms=T0 + n * MINUTE), at_ms=T0 + n * MINUTE)
        )
    service.clock.now_ms = T0 + 3 * MINUTE + 500
    assert service.states.step() == 1
    snapshot = service.board.get("p1").snapshot
    assert (snapshot["state"], snapshot["values"][0]["value"]) == ("in_standard", pytest.approx(0.8))
    assert len(service.log.unstored()) == 1
    assert service.states.step() == 0


def test_a_number_that_expired_while_the_service_was_down_has_its_end_logged(
    service: Any, make_state: Any, make_value: Any, restart: Callable[[Any], Any]
) -> None:
    service.judge(make_state(make_value()))
    service.states.step()
    service.clock.now_ms += 2 * MINUTE
    again = restart(service)
    assert again.board.get("p1").snapshot["values"][0]["value"] is None
    again.board.publish(service.clock.now_ms)
    values = [row.values[0].value for _, row in again.log.unstored()]
    assert values == [0.52, None]
    again.log.close()


def test_a_list_made_while_something_changed_is_not_kept(
    service: Any, make_state: Any, make_value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.judge(make_state(make_value()))
    service.states.step()
    compress = gzip.compress

    def changed_meanwhile(*given: Any, **named: Any) -> bytes:
        monkeypatch.setattr(gzip, "compress", compress)
        service.clock.now_ms += 2000
        service.judge(make_state(make_value(0.61, measured_at_ms=T0 + 2000), at_ms=T0 + 2000))
        service.states.step()
        return compress(*given, **named)

    monkeypatch.setattr(gzip, "compress", changed_meanwhile)
    assert b"0.52" in service.board.published_list().body
    assert b"0.61" in service.board.published_list().body


def test_the_list_of_many_pools_is_at_most_150_bytes_a_pool_on_the_wire(
    service: Any, make_state: Any, make_value: Any
) -> None:
    pool = service.registry.pools["p1"]
    pools = {
        f"pool-{n}": type(pool)(
            pool_id=f"pool-{n}",
            venue_id="v",
            name_zh=f"第{n}游泳馆{n * 7919 % 1000}号池",
            name_en=f"Pool {n}",
            kind=pool.kind,
            volume_m3=None,
            opening=pool.opening,
            time_zone=pool.time_zone,
            profile=pool.profile,
        )
        for n in range(40)
    }
    service.board.replace_registry(Registry(service.registry.venues, pools, {}))
    service.board.submit(
        make_state(
            make_value(0.3 + n * 7919 % 701 / 1000, measured_at_ms=T0 - n * 7919 % 50_000),
            pool_id=f"pool-{n}",
            state=list(PoolCondition)[n % 3],
        )
        for n in range(40)
    )
    assert service.board.publish(T0) == 40
    assert len(service.board.published_list().compressed) <= 150 * 40


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        ("online", ReasonCode.OUTSIDE_LIMIT, ("unverified", "unverified_since")),
        ("online", ReasonCode.NOT_YET_CONFIRMED, ("overdue", "no_result_in_time")),
        ("manual", ReasonCode.OUTSIDE_LIMIT, ("retest_due", "outside_limit")),
    ],
)
def test_silence_neither_ends_nor_hides_an_exceedance(
    service: Any, make_state: Any, make_value: Any, kind: str, code: ReasonCode, expected: tuple[str, str]
) -> None:
    value = make_value(
        0.1,
        state=ValueState.OUT_OF_STANDARD,
        kind=kind,
        reason=Reason(code, quantity="free_chlorine_mg_l", since_ms=T0),
    )
    before = snapshot_of(service, make_state(value, state=PoolCondition.OUT_OF_STANDARD))
    after = withhold_expired(before, now_ms=T0 + MINUTE)
    shown = after["values"][0]
    assert (shown["value"], after["state"]) == (None, "out_of_standard")
    assert (shown["state"], shown["reason"]["code"]) == expected


def test_readiness_names_the_log_and_analytics(
    service: Any, serve: Any, make_state: Any, make_value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(service) as url, httpx.Client(base_url=url, timeout=10) as web:
        service.states.step()
        answer = web.get("/readyz")
        assert (answer.status_code, "analytics" in answer.json()["reasons"][0]) == (503, True)
        service.judge(make_state(make_value()))
        service.states.step()
        assert web.get("/readyz").status_code == 200

        def full(_rows: object) -> None:
            raise PublicationLogError("disk full")

        monkeypatch.setattr(service.log, "append", full)
        service.clock.now_ms += 2000
        service.judge(make_state(make_value(0.6), at_ms=T0 + 2000))
        stop = threading.Event()
        monkeypatch.setattr(stop, "wait", lambda _seconds: stop.set())
        service.states.run(stop)
        answer = web.get("/readyz")
        assert (answer.status_code, answer.json()["reasons"]) == (
            503,
            ["nothing new is published: disk full"],
        )


def test_a_registry_without_pools_is_an_empty_page(service: Any, serve: Any) -> None:
    service.board.replace_registry(Registry({}, {}, {}))
    with serve(service) as url:
        assert httpx.get(url).status_code == 200
        assert httpx.get(f"{url}/v1/pools").json() == {"pools": []}


def test_a_failure_nobody_foresaw_has_the_shape_and_the_headers(
    service: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(type(service.board), "published_list", broken)
    with serve(service) as url:
        answer = httpx.get(f"{url}/v1/pools")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret detail" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_an_error_page_has_the_notice_of_the_demo(
    service: Any, serve: Any, make_state: Any, make_value: Any
) -> None:
    service.judge(make_state(make_value()))
    service.states.step()
    with serve(service) as url:
        page = httpx.get(f"{url}/pools/nowhere", headers={"accept": "text/html"})
    assert (page.status_code, "演示" in page.text) == (404, True)


def _verdict(number: int, start_ms: int, state: str = "closed") -> VerdictRow:
    end = "null" if state == "open" else str(start_ms + 1000)
    body = (
        f'{{"verdict_id":"v{number}","revision":1,"kind":"lapse","pool_id":"p1","quantity":"ph",'
        f'"rule":"daily_test","profile":"demo","standard":"s","edition":"e","clause":"c","clause_status":"ours",'
        f'"consequence":"none","state":"{state}","start_ms":{start_ms},"end_ms":{end},"judged_at_ms":{start_ms}}}'
    )
    end_ms = None if state == "open" else start_ms + 1000
    return VerdictRow(f"v{number}", 1, "lapse", "p1", state, start_ms, end_ms, start_ms, body.encode())


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 100])
def test_the_newest_verdicts_are_found_whatever_their_age(service: Any, limit: int) -> None:
    hour, day = 3_600_000, 86_400_000
    starts = [T0 - hour, T0 - 2 * hour, T0 - 3 * day, T0 - 40 * day, T0 - 400 * day]
    rows = [_verdict(number, start) for number, start in enumerate(starts)]
    rows.append(_verdict(9, T0 - 500 * day, "open"))  # reaches into every window, and is the oldest
    rows.append(_verdict(8, T0 - 10, "withdrawn"))
    service.store.write_results(verdicts=rows, states=[])
    found = api.verdict_items(service.site, "p1", VerdictKind.LAPSE, withdrawn=False, limit=limit)
    assert [item["verdict_id"] for item in found] == ["v0", "v1", "v2", "v3", "v4", "v9"][:limit]


def _becomes(condition: Callable[[], bool]) -> bool:
    """Whether it holds within ten seconds."""
    moment = threading.Event()
    return any(condition() or moment.wait(0.1) for _ in range(100))


def test_a_client_that_left_is_forgotten_and_one_whose_loop_ended_stops_nobody(
    service: Any, serve: Any, make_state: Any, make_value: Any
) -> None:
    ended = asyncio.new_event_loop()
    ended.close()
    service.board._subscribers.add(Subscriber(ended, None))
    service.judge(make_state(make_value()))
    assert service.states.step() == 1
    service.board._subscribers.clear()
    with serve(service) as url, httpx.Client(timeout=10) as web:
        with web.stream("GET", f"{url}/v1/stream") as answer:
            next(answer.iter_lines())
            assert _becomes(lambda: service.board.stream_clients == 1)
        assert _becomes(lambda: service.board.stream_clients == 0)


def test_the_page_says_when_an_exceedance_is_in_doubt(
    service: Any, serve: Any, make_state: Any, make_value: Any
) -> None:
    row = _verdict(1, T0 - 3_600_000)
    body = row.body.replace(
        b'"lapse"', b'"exceedance","limit":0.3,"worst_value":0.25,"doubt":"ph_out_of_line"'
    )
    service.store.write_results(verdicts=[row._replace(kind="exceedance", body=body)], states=[])
    service.judge(make_state(make_value()))
    service.states.step()
    with serve(service) as url:
        page = httpx.get(f"{url}/pools/p1", headers={"accept": "text/html"})
    assert "in doubt by the pH; test by hand" in page.text


def test_published_verdicts_name_devices_and_no_persons() -> None:
    fact = {"measured_at_ms": T0, "counted_at_ms": T0}
    body = {
        "start_ms": T0,
        "end_ms": None,
        "evidence": {
            "last": {"served_by": "notice_board", "source": "Li", **fact},
            "ended_by": {"served_by": "online", "source": "fc-1", **fact},
        },
    }
    found = api._wired(body)
    assert found["end"] is None
    assert "source" not in found["evidence"]["last"]
    assert found["evidence"]["ended_by"]["source"] == "fc-1"
    assert found["evidence"]["last"]["measured_at"] == found["start"]
