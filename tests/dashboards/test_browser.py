"""In a real browser: the screen takes its number away by itself, and no page asks another host."""

import shutil
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from analytics.results import PoolCondition, Reason, ReasonCode, ValueState
from dashboards.public.snapshots import limit_text, shown_number
from gateway.contract.quantities import SPECS

pytestmark = pytest.mark.integration

_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, headless; skips where it or playwright is absent."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def now_service(service: Any, make_state: Any, make_value: Any) -> Any:
    """The service with true time: the first pool's number is in force for a few seconds more."""
    now_ms = time.time_ns() // 1_000_000
    service.clock.now_ms = now_ms
    service.judge(make_state(make_value(measured_at_ms=now_ms, valid_s=4.0), at_ms=now_ms))
    service.states.step()
    return service


def test_the_number_leaves_the_screen_at_its_deadline_with_the_network_off(
    chromium: Any, now_service: Any, serve: Any
) -> None:
    with serve(now_service) as url:
        context = chromium.new_context(viewport={"width": 1920, "height": 1080})
        page = context.new_page()
        page.goto(f"{url}/display/p1")
        number = page.locator(".card .value").first
        number.wait_for()
        assert number.inner_text() == "0.52"
        assert "达标" in page.locator("[data-state-zh]").inner_text()
        context.set_offline(True)
        page.locator(".card .value").filter(has_text="—").first.wait_for(timeout=10_000)
        assert page.locator("[data-state-zh]").inner_text() == "公示逾期"
        assert "没有及时更新的结果" in page.locator("[data-why-zh]").inner_text()
        assert page.evaluate(
            "document.documentElement.scrollHeight <= innerHeight && document.body.scrollWidth <= innerWidth"
        )
        context.close()


def test_a_screen_whose_clock_is_a_day_off_still_goes_by_the_server(
    chromium: Any, now_service: Any, serve: Any
) -> None:
    with serve(now_service) as url:
        context = chromium.new_context()
        context.add_init_script("const real = Date.now; Date.now = () => real() - 86400000;")
        page = context.new_page()
        page.goto(f"{url}/display/p1")
        page.locator(".card .value").first.wait_for()
        assert page.locator(".card .value").first.inner_text() == "0.52"
        page.locator(".card .value").filter(has_text="—").first.wait_for(timeout=10_000)
        context.close()


def test_a_change_reaches_the_list_without_a_reload(
    chromium: Any, now_service: Any, serve: Any, make_state: Any, make_value: Any
) -> None:
    with serve(now_service) as url:
        page = chromium.new_page()
        page.goto(url)
        cell = page.locator('[data-pool="p1"] [data-cell="free_chlorine_mg_l"] .value')
        assert cell.inner_text() == "0.52"
        now_ms = now_service.clock.now_ms + 1500
        now_service.clock.now_ms = now_ms
        now_service.judge(make_state(make_value(0.61, measured_at_ms=now_ms, valid_s=600), at_ms=now_ms))
        now_service.states.step()
        cell.filter(has_text="0.61").wait_for(timeout=10_000)
        page.get_by_label("查找泳池").fill("nothing like it")
        assert page.locator("tr[data-pool]:visible").count() == 0
        assert page.locator("[data-empty]").is_visible()
        page.close()


def test_every_page_withholds_with_the_network_off_and_an_exceedance_stays_one(
    chromium: Any, now_service: Any, serve: Any, make_state: Any, make_value: Any
) -> None:
    now_ms = time.time_ns() // 1_000_000
    now_service.clock.now_ms = now_ms
    out = make_value(
        0.1,
        state=ValueState.OUT_OF_STANDARD,
        measured_at_ms=now_ms,
        valid_s=4.0,
        reason=Reason(ReasonCode.OUTSIDE_LIMIT, quantity="free_chlorine_mg_l", since_ms=now_ms),
    )
    now_service.judge(
        make_state(out, pool_id="p2", state=PoolCondition.OUT_OF_STANDARD, at_ms=now_ms),
        make_state(make_value(measured_at_ms=now_ms, valid_s=4.0), at_ms=now_ms + 1),
    )
    now_service.states.step()
    with serve(now_service) as url:
        context = chromium.new_context()
        pages = {path: context.new_page() for path in ("/", "/pools/p1", "/pools/p2", "/display/p2")}
        for path, page in pages.items():
            page.goto(url + path)
        context.set_offline(True)
        for path, page in pages.items():
            page.locator(".value").filter(has_text="—").first.wait_for(timeout=10_000)
            assert page.locator(".value").filter(has_text="0.").count() == 0, path
        good, bad, screen = pages["/pools/p1"], pages["/pools/p2"], pages["/display/p2"]
        assert "公示逾期" in good.locator(".standing").inner_text()
        assert "没有及时更新" in good.locator(".card .why").inner_text()
        for page in (bad, screen):
            assert "未能核实" in page.locator(".card .verdict").inner_text()
            assert "超标后无数据" in page.locator(".card .why").inner_text()
        assert "不达标" in bad.locator(".standing").inner_text()
        assert screen.locator("[data-state-zh]").inner_text() == "不达标"
        context.close()


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (1280, 720), (3840, 2160)])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_screen_shows_every_digit_and_unit_whole(
    chromium: Any,
    now_service: Any,
    serve: Any,
    make_state: Any,
    make_value: Any,
    size: tuple[int, int],
    count: int,
) -> None:
    now_ms = now_service.clock.now_ms + 2000
    now_service.clock.now_ms = now_ms
    # 0.299996 is written with six digits, so as not to look like its limit of 0.3.
    value = make_value(
        0.299996,
        state=ValueState.OUT_OF_STANDARD,
        measured_at_ms=now_ms,
        valid_s=600,
        reason=Reason(ReasonCode.NOT_YET_CONFIRMED, quantity="free_chlorine_mg_l"),
    )
    state = make_state(*[value] * count, state=PoolCondition.OUT_OF_STANDARD, at_ms=now_ms)
    now_service.judge(state)
    now_service.states.step()
    with serve(now_service) as url:
        page = chromium.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(f"{url}/display/p1")
        page.locator(".card .value").nth(count - 1).wait_for()
        assert page.locator(".card .value").all_inner_texts() == ["0.299996"] * count
        cut = page.evaluate(
            "[...document.querySelectorAll('.card')].flatMap((card) => {"
            " const room = card.getBoundingClientRect();"
            " return [...card.querySelectorAll('h2, .value, .unit, .verdict, .limit, .why, .when')].filter((part) => {"
            "  const range = document.createRange(); range.selectNodeContents(part);"
            "  const box = range.getBoundingClientRect();"
            "  return box.right > room.right + 1 || box.bottom > room.bottom + 1; }).map((part) => part.className); })"
        )
        page.close()
    assert cut == []


def test_scripts_and_server_write_numbers_and_limits_alike(
    chromium: Any, now_service: Any, serve: Any
) -> None:
    limits: list[list[float | None]] = [[0.3, 1.0], [7.0, 7.8], [None, 1.0], [650, None], [None, None]]
    values = [0.0, 0.1, 0.2999, 0.300004, 0.52, 1.0, 1.00001, 6.996, 7.849, 27.1, 649.6, 650.0]
    cases = [
        {"quantity": quantity.value, "value": value, "limit": limit}
        for quantity in SPECS
        for limit in limits
        for value in values
    ]
    with serve(now_service) as url:
        page = chromium.new_page()
        page.goto(url)
        numbers, texts = page.evaluate(
            "async ([cases, limits]) => { const live = await import('/static/live.js');"
            " return [cases.map(live.number), limits.map(live.limit)]; }",
            [cases, limits],
        )
        page.close()
    assert texts == [limit_text(limit) for limit in limits]
    assert numbers == [shown_number(case["value"], case["quantity"], case["limit"]) for case in cases]  # type: ignore[arg-type] # one shape, as JSON has it


@pytest.mark.parametrize("path", ["/", "/pools/p1", "/display/p1", "/pools/nowhere"])
def test_a_page_asks_this_host_only_and_runs_without_an_error(
    chromium: Any, now_service: Any, serve: Any, path: str
) -> None:
    with serve(now_service) as url:
        page = chromium.new_page(viewport={"width": 360, "height": 780})
        hosts: set[str] = set()
        faults: list[str] = []
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda message: (
                faults.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        page.goto(url + path)
        page.wait_for_timeout(700)
        assert hosts == {urlsplit(url).netloc}
        assert faults == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            "the page is wider than a phone"
        )
        page.close()
