"""Pages for people: all pools, one pool, the screen at its entrance."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from analytics.results import VerdictKind
from dashboards.public import words
from dashboards.public.api import PoolId, published_pool, verdict_items
from dashboards.public.plots import plot
from dashboards.public.site import Site
from dashboards.public.snapshots import STATE_ORDER, Snapshot, limit_text, shown_number, worst_value
from gateway.contract.readings import MANUAL_SENSOR
from gateway.contract.times import parse_timestamp
from ingest.store.ports import StoreError
from ingest.store.records import ReadingColumns, SeriesKey, StatusCode

router = APIRouter(include_in_schema=False)

#: What the plots show: the last hour where time runs short, else the last day. [s]
_PLOT_SPAN_S = 24 * 3600
_DEMO_PLOT_SPAN_S = 15 * 60
#: Marks of the time axis, at full such spans of the pool's own clock. [s]
_TICK_S = {_PLOT_SPAN_S: 4 * 3600, _DEMO_PLOT_SPAN_S: 3 * 60}
#: A mark nearer to the edges than this would be cut. [share of the span]
_EDGE = 0.03
_VERDICTS_SHOWN = 20


def _text(time_zone: str, instant: str | None, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A wire time in a pool's own time."""
    if instant is None:
        return ""
    moment = datetime.fromtimestamp(parse_timestamp(instant) / 1000, UTC).astimezone(ZoneInfo(time_zone))
    return moment.strftime(pattern)


def _number(value: dict[str, Any]) -> str:
    return "—" if value["value"] is None else shown_number(value["value"], value["quantity"], value["limit"])


def _duration(start: str, end: str | None) -> str:
    if end is None:
        return ""
    seconds = (parse_timestamp(end) - parse_timestamp(start)) // 1000
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {left:02d} s" if minutes else f"{left} s"


def _why(pool: Snapshot) -> dict[str, Any] | None:
    """The reason of a pool's state, else the first that one of its values has."""
    reasons = [pool["reason"], *(value["reason"] for value in pool["values"])]
    return next((reason for reason in reasons if reason is not None), None)


def make_environment() -> Environment:
    """Templates with everything escaped, and the words at hand."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"words": words, "worst_value": worst_value, "why": _why}
    environment.filters |= {
        "local": _text,
        "number": _number,
        "limit": limit_text,
        "json": lambda content: Markup(  # noqa: S704 - JSON with every < escaped cannot leave its element
            msgspec.json.encode(content).decode().replace("<", "\\u003c")
        ),
    }
    environment.tests["shown"] = lambda value: value["value"] is not None
    environment.globals["duration"] = _duration
    return environment


def _render(request: Request, template: str, **context: Any) -> HTMLResponse:
    site: Site = request.app.state.site
    environment: Environment = request.app.state.templates
    return HTMLResponse(
        environment.get_template(template).render(
            now_ms=site.clock(),
            notice=site.board.notice,
            script_words=words.script_table(),
            **context,
        ),
        headers={"Cache-Control": "no-store"},
    )


@router.get("/")
def index(request: Request) -> Response:
    """All pools, the worst first."""
    site: Site = request.app.state.site
    pools = site.board.all()
    counts = {state.value: sum(pool["state"] == state for pool in pools) for state in STATE_ORDER}
    districts = sorted({pool["district"] for pool in pools})
    return _render(request, "index.html", pools=pools, counts=counts, districts=districts)


@router.get("/pools/{pool_id}")
def pool_page(request: Request, pool_id: PoolId) -> Response:
    """One pool: now, the last hours, verdicts with their clause."""
    site: Site = request.app.state.site
    pool = published_pool(site, pool_id).snapshot
    history, problem = None, None
    try:
        history = _History.read(site, pool)
    except StoreError as error:
        problem = str(error)
    return _render(request, "pool.html", pool=pool, history=history, problem=problem)


@router.get("/display/{pool_id}")
def display(request: Request, pool_id: PoolId) -> Response:
    """The screen at a pool's entrance."""
    site: Site = request.app.state.site
    return _render(request, "display.html", pool=published_pool(site, pool_id).snapshot)


@dataclass(frozen=True, slots=True)
class _Plot:
    quantity: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class _History:
    """What the store adds to a pool's page."""

    plots: list[_Plot]
    exceedances: list[dict[str, Any]]
    lapses: list[dict[str, Any]]
    span: words.Words

    @classmethod
    def read(cls, site: Site, pool: Snapshot) -> "_History":
        """Plots and verdicts of a pool; StoreError if the store does not answer."""
        pool_id = pool["pool_id"]
        now_ms = site.clock()
        span_s = _DEMO_PLOT_SPAN_S if pool["notice"] else _PLOT_SPAN_S
        from_ms = now_ms - span_s * 1000
        series = site.store.readings(pool_id, from_ms=from_ms, to_ms=now_ms + 1)
        intervals = {
            (sensor.sensor_id, sensor.quantity.value): sensor.interval_s
            for sensor in site.board.registry.pools[pool_id].sensors
        }
        plots = [
            _Plot(value["quantity"], Markup(_plot(pool, value, series, intervals, from_ms, now_ms)))  # noqa: S704 - escaped by plot
            for value in pool["values"]
        ]
        found = {
            kind: verdict_items(site, pool_id, kind, withdrawn=False, limit=_VERDICTS_SHOWN)
            for kind in VerdictKind
        }
        return cls(plots, found[VerdictKind.EXCEEDANCE], found[VerdictKind.LAPSE], words.span_words(span_s))


def _plot(
    pool: Snapshot,
    value: dict[str, Any],
    series: dict[SeriesKey, ReadingColumns],
    intervals: dict[tuple[str, str], float],
    from_ms: int,
    to_ms: int,
) -> str:
    quantity = value["quantity"]
    online = [
        (key, columns)
        for key, columns in series.items()
        if key.quantity == quantity and key.sensor_id != MANUAL_SENSOR
    ]
    # The sensor that decides now, else the first that has readings.
    online.sort(key=lambda one: one[0].sensor_id != value["sensor_id"])
    times, heights, interval_s = np.empty(0, np.int64), np.empty(0), 60.0
    if online:
        key, columns = online[0]
        times = columns.measured_at_ms
        heights = np.where(columns.status == StatusCode.NORMAL, columns.value, np.nan)
        interval_s = intervals.get((key.sensor_id, quantity), 60.0)
    by_hand = series.get(SeriesKey(MANUAL_SENSOR, quantity))
    samples = (
        []
        if by_hand is None
        else list(zip(by_hand.measured_at_ms.tolist(), by_hand.value.tolist(), strict=True))
    )
    name = words.quantity_words(quantity)
    return plot(
        label=f"{name.zh} {name.en}",
        time_ms=times,
        value=heights,
        samples=[(instant, height) for instant, height in samples if height == height],  # noqa: PLR0124 - leaves NaN out
        from_ms=from_ms,
        to_ms=to_ms,
        limit=(value["limit"][0], value["limit"][1]),
        gap_ms=max(3 * interval_s, 5.0) * 1000,
        tick_labels=_ticks(pool["time_zone"], from_ms, to_ms),
    )


def _ticks(time_zone: str, from_ms: int, to_ms: int) -> list[tuple[int, str]]:
    """Marks of a time axis at full hours or minutes of the pool's own clock."""
    zone = ZoneInfo(time_zone)
    step_ms = _TICK_S[(to_ms - from_ms) // 1000] * 1000
    offset = datetime.fromtimestamp(to_ms / 1000, UTC).astimezone(zone).utcoffset()
    shift_ms = 0 if offset is None else int(offset.total_seconds() * 1000)
    edge_ms = int((to_ms - from_ms) * _EDGE)
    first_ms = -(-(from_ms + edge_ms + shift_ms) // step_ms) * step_ms - shift_ms
    return [
        (instant, datetime.fromtimestamp(instant / 1000, UTC).astimezone(zone).strftime("%H:%M"))
        for instant in range(first_ms, to_ms - edge_ms, step_ms)
    ]
