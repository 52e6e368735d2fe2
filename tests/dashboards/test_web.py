"""The service over HTTP: every address, its errors, its headers, and the stream through a real server."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.ports import StoreUnavailableError
from ingest.store.records import ReadingRow, VerdictRow

T0 = 1_782_892_800_000


@pytest.fixture
def client(service: Any, serve: Any) -> Iterator[httpx.Client]:
    with serve(service) as url, httpx.Client(base_url=url, timeout=10) as made:
        yield made


@pytest.fixture
def judged(service: Any, make_state: Any, make_value: Any) -> Any:
    rows = [
        ReadingRow("p1", "fc-1", "free_chlorine_mg_l", T0 + n * 2000, 0.5, "normal", T0, "g", "b", n, 0)
        for n in range(9)
    ]
    service.store.write(IngestBatch(readings=batch_of_rows(rows)), stored_at_ms=T0)
    service.judge(make_state(make_value()))
    service.states.step()
    return service


PAGES = ["/", "/pools/p1", "/pools/p2", "/display/p1", "/display/p2"]
JSON = ["/v1/pools", "/v1/pools/p1", "/v1/pools/p1/exceedances", "/v1/pools/p1/lapses", "/healthz", "/readyz"]


@pytest.mark.parametrize("path", [*PAGES, *JSON, "/metrics", "/static/style.css", "/v1/openapi.json"])
def test_every_address_answers_and_keeps_the_browser_here(
    judged: Any, client: httpx.Client, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "://" not in policy


@pytest.mark.parametrize("path", PAGES)
def test_names_are_text_and_never_markup(judged: Any, client: httpx.Client, path: str) -> None:
    page = client.get(path).text
    assert "<script>alert" not in page
    assert "清枫&lt;script&gt;" in page or "清枫\\u003cscript" in page
    assert "style=" not in page
    assert " onclick" not in page


def test_a_page_says_value_unit_limit_word_and_demo(judged: Any, client: httpx.Client) -> None:
    page = client.get("/pools/p1").text
    for text in ("0.52", "mg/L", "0.3–1.0", "达标", "in standard", "演示", "2026-07-01 16:00:00"):
        assert text in page, text


def test_one_shape_for_every_failure(judged: Any, client: httpx.Client) -> None:
    for path, status, code in (
        ("/v1/pools/nowhere", 404, "unknown_pool"),
        ("/v1/pools/nowhere/lapses", 404, "unknown_pool"),
        ("/v1/nothing", 404, "not_found"),
        ("/v1/pools/UPPER", 422, "bad_request"),
        ("/v1/pools/p1/lapses?limit=0", 422, "bad_request"),
        ("/v1/stream?pool_id=nowhere", 404, "unknown_pool"),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), path
        assert answer.json()["error"]["message"]
    answer = client.post("/v1/pools")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    page = client.get("/pools/nowhere", headers={"accept": "text/html"})
    assert page.status_code == 404
    assert "<h1>" in page.text


def test_an_unchanged_snapshot_is_not_sent_again(judged: Any, client: httpx.Client) -> None:
    for path in ("/v1/pools/p1", "/v1/pools"):
        first = client.get(path)
        again = client.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_the_list_comes_compressed_and_with_its_fields(judged: Any, client: httpx.Client) -> None:
    answer = client.get("/v1/pools", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    entry = answer.json()["pools"][0]
    assert set(entry) == {"pool_id", "name", "district", "state", "worst", "measured_at", "published_at"}


def test_verdicts_have_their_times_in_wire_form(judged: Any, client: httpx.Client) -> None:
    body = json.dumps(
        {
            "verdict_id": "x",
            "revision": 1,
            "kind": "exceedance",
            "pool_id": "p1",
            "quantity": "free_chlorine_mg_l",
            "rule": "free_chlorine_mg_l.low",
            "profile": "demo",
            "standard": "GB 37488",
            "edition": "2019",
            "clause": "table",
            "clause_status": "second-hand",
            "consequence": "order",
            "state": "open",
            "start_ms": T0,
            "end_ms": None,
            "judged_at_ms": T0 + 1,
            "limit": 0.3,
            "worst_value": 0.1,
        }
    ).encode()
    row = VerdictRow("x", 1, "exceedance", "p1", "open", T0, None, T0 + 1, body)
    judged.store.write_results(verdicts=[row], states=[])
    (item,) = client.get("/v1/pools/p1/exceedances").json()["items"]
    assert (item["start"], item["end"], item["worst_value"]) == ("2026-07-01T08:00:00.000Z", None, 0.1)
    assert client.get("/v1/pools/p1/lapses").json() == {"items": []}
    assert "GB 37488" in client.get("/pools/p1").text


def test_a_store_that_is_away_takes_only_history_with_it(
    judged: Any, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("away")

    for name in ("readings", "verdicts"):
        monkeypatch.setattr(type(judged.store), name, away)
    assert client.get("/v1/pools/p1").json()["values"][0]["value"] == 0.52
    answer = client.get("/v1/pools/p1/lapses")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    page = client.get("/pools/p1")
    assert page.status_code == 200
    assert "0.52" in page.text


def test_readiness_says_what_is_wrong(judged: Any, client: httpx.Client) -> None:
    assert client.get("/readyz").json()["status"] == "ready"
    judged.clock.now_ms += 11_000
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "the store was not read" in answer.json()["reasons"][0]
    assert client.get("/healthz").status_code == 200


def test_metrics_count_pools_and_publications(judged: Any, client: httpx.Client) -> None:
    text = client.get("/metrics").text
    assert 'poolwatch_pools{state="in_standard"} 1.0' in text
    assert "poolwatch_publications_total 1.0" in text


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_the_stream_begins_with_what_is_served_and_tells_each_change(
    judged: Any, serve: Any, make_state: Any, make_value: Any
) -> None:
    with (
        serve(judged) as url,
        httpx.Client(timeout=10) as web,
        web.stream("GET", f"{url}/v1/stream?pool_id=p1") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = events(answer.iter_lines())
        assert next(stream)[0] == "clock"
        name, first = next(stream)
        assert (name, first["values"][0]["value"]) == ("snapshot", 0.52)
        judged.clock.now_ms += 2000
        judged.judge(make_state(make_value(0.61, measured_at_ms=T0 + 2000), at_ms=T0 + 2000))
        judged.states.step()
        name, second = next(stream)
        assert (name, second["values"][0]["value"]) == ("snapshot", 0.61)
        assert second == web.get(f"{url}/v1/pools/p1").json()


def test_a_client_that_does_not_read_costs_one_snapshot_a_pool(
    judged: Any, serve: Any, make_state: Any, make_value: Any
) -> None:
    with (
        serve(judged) as url,
        httpx.Client(timeout=10) as web,
        web.stream("GET", f"{url}/v1/stream?pool_id=p1") as answer,
    ):
        stream = events(answer.iter_lines())
        next(stream)
        next(stream)
        (subscriber,) = judged.board._subscribers
        for step in range(1, 50):
            judged.clock.now_ms += 1000
            judged.judge(make_state(make_value(0.5 + step / 1000, measured_at_ms=T0 + step), at_ms=T0 + step))
            judged.states.step()
        assert len(subscriber._waiting) <= 1
        values: list[float] = []
        while not values or values[-1] != 0.549:
            values.append(next(stream)[1]["values"][0]["value"])
        assert values == sorted(values)
