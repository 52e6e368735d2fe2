"""The public JSON: pools, verdicts, stream, health, metrics. Read only."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from analytics.results import VerdictKind, VerdictState, decode_verdict
from dashboards.public.board import Published
from dashboards.public.errors import PublicError
from dashboards.public.health import not_alive, not_ready
from dashboards.public.site import Site
from gateway.contract.times import format_timestamp

#: A client learns at least this often that the line is alive. [s]
_HEARTBEAT_S = 10.0
#: What a browser waits before it connects again. [ms]
_RETRY_MS = 2000
#: Verdicts are looked for in these last days first: a pool has many years of them, and the newest are asked for.
_LOOK_BACK_MS = (86_400_000, 30 * 86_400_000)

#: As in the contract; written for the regular expressions of FastAPI, in which `$` means the very end.
_ID_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"

router = APIRouter()

PoolId = Annotated[str, Path(description="Id of the pool, as in the list of pools", pattern=_ID_PATTERN)]
_JSON = "application/json"


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def _conditional(
    request: Request, *, body: bytes, etag: str, headers: dict[str, str] | None = None
) -> Response:
    """Answer with the body, or with 304 if the client has it."""
    extra = {"ETag": etag, "Cache-Control": "no-cache", **(headers or {})}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=extra)
    return Response(body, media_type=_JSON, headers=extra)


@router.get("/v1/pools", tags=["pools"], summary="All pools, the worst first")
def list_pools(request: Request) -> Response:
    """Return, per pool: state, the value that stands for it, when that was measured and when published."""
    ready = _site(request).board.published_list()
    if "gzip" in request.headers.get("accept-encoding", ""):
        return _conditional(
            request,
            body=ready.compressed,
            etag=ready.etag,
            headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"},
        )
    return _conditional(request, body=ready.body, etag=ready.etag, headers={"Vary": "Accept-Encoding"})


def published_pool(site: Site, pool_id: str) -> Published:
    """What is served of a pool; PublicError 404 if the registry has none of that id."""
    published = site.board.get(pool_id)
    if published is None:
        raise PublicError(404, "unknown_pool", f"There is no pool {pool_id!r}; see the list at /v1/pools.")
    return published


@router.get("/v1/pools/{pool_id}", tags=["pools"], summary="One pool now")
def get_pool(request: Request, pool_id: PoolId) -> Response:
    """Return the snapshot that screens and pages show."""
    published = published_pool(_site(request), pool_id)
    return _conditional(request, body=published.body, etag=published.etag)


def verdict_items(
    site: Site, pool_id: str, kind: VerdictKind, *, withdrawn: bool, limit: int
) -> list[dict[str, Any]]:
    """Verdicts of a pool, the newest first, with instants in their wire form."""
    now_ms = site.clock()
    for from_ms in (*(now_ms - span_ms for span_ms in _LOOK_BACK_MS), None):
        rows = site.store.verdicts(pool_id, from_ms=from_ms, kind=kind.value)
        chosen = [row for row in rows if withdrawn or row.state != VerdictState.WITHDRAWN]
        chosen.sort(key=lambda row: row.start_ms, reverse=True)
        del chosen[limit:]
        # Of what began before the window only the part that reaches into it is here: enough only if none is needed.
        if from_ms is None or (len(chosen) == limit and chosen[-1].start_ms >= from_ms):
            break
    return [_wire_verdict(row.body) for row in chosen]


def _wire_verdict(body: bytes) -> dict[str, Any]:
    """A verdict with its instants in their wire form; who made an entry is not published."""
    return _wired(msgspec.to_builtins(decode_verdict(body)))


#: Of facts from these the source is a device; of all others it may be a person's name.
_DEVICES = ("online", "publication", "screen")


def _wired(parts: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, part in parts.items():
        if name == "source" and parts.get("served_by") not in _DEVICES:
            continue
        if name.endswith("_ms"):
            found[name.removesuffix("_ms")] = None if part is None else format_timestamp(part)
        else:
            found[name] = _wired(part) if isinstance(part, dict) else part
    return found


_Withdrawn = Annotated[bool, Query(description="Also those that late data refuted")]
_Limit = Annotated[int, Query(ge=1, le=1000, description="Most items")]


def _verdicts(request: Request, pool_id: str, kind: VerdictKind, *, withdrawn: bool, limit: int) -> Response:
    site = _site(request)
    published_pool(site, pool_id)
    items = verdict_items(site, pool_id, kind, withdrawn=withdrawn, limit=limit)
    return Response(
        msgspec.json.encode({"items": items}), media_type=_JSON, headers={"Cache-Control": "no-cache"}
    )


@router.get(
    "/v1/pools/{pool_id}/exceedances", tags=["verdicts"], summary="When the water was out of standard"
)
def list_exceedances(
    request: Request, pool_id: PoolId, withdrawn: _Withdrawn = False, limit: _Limit = 100
) -> Response:
    """Return exceedances with limit, standard, edition and clause, the newest first."""
    return _verdicts(request, pool_id, VerdictKind.EXCEEDANCE, withdrawn=withdrawn, limit=limit)


@router.get(
    "/v1/pools/{pool_id}/lapses", tags=["verdicts"], summary="When results were not published in time"
)
def list_lapses(
    request: Request, pool_id: PoolId, withdrawn: _Withdrawn = False, limit: _Limit = 100
) -> Response:
    """Return lapses with duty, cause, seconds per cause and clause, the newest first."""
    return _verdicts(request, pool_id, VerdictKind.LAPSE, withdrawn=withdrawn, limit=limit)


def _event(published: Published) -> bytes:
    number = published.etag.strip('"')
    return b"event: snapshot\nid: %b\ndata: %b\n\n" % (number.encode(), published.body)


@router.get(
    "/v1/stream", tags=["pools"], summary="Changes as server-sent events", response_class=StreamingResponse
)
async def stream(
    request: Request,
    pool_id: Annotated[str | None, Query(description="Only this pool", pattern=_ID_PATTERN)] = None,
    last_event_id: Annotated[str | None, Header(include_in_schema=False)] = None,  # noqa: ARG001 - every start sends what is served
) -> StreamingResponse:
    """Send what is served, and then each change, as event `snapshot`; `clock` carries the server's time."""
    site = _site(request)
    if pool_id is not None:
        published_pool(site, pool_id)

    async def events() -> AsyncIterator[bytes]:
        async with site.board.subscribe(pool_id) as (subscriber, current):
            yield f"retry: {_RETRY_MS}\n".encode() + _clock_event(site.clock())
            for published in current:
                yield _event(published)
            silent_s = 0.0
            while not site.stopping.is_set():
                changes = await subscriber.take(wait_s=1.0)
                silent_s = 0.0 if changes else silent_s + 1.0
                for published in changes:
                    yield _event(published)
                if silent_s >= _HEARTBEAT_S:
                    silent_s = 0.0
                    yield _clock_event(site.clock())

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


def _clock_event(now_ms: int) -> bytes:
    return f'event: clock\ndata: {{"now": "{format_timestamp(now_ms)}"}}\n\n'.encode()


@router.get("/healthz", tags=["operation"], summary="Whether the process is alive")
def healthz(request: Request, response: Response) -> dict[str, Any]:
    """Return 503 when the followers of store and log are stuck."""
    reasons = not_alive(_site(request))
    if reasons:
        response.status_code = 503
        return {"status": "not alive", "reasons": reasons}
    return {"status": "alive"}


@router.get("/readyz", tags=["operation"], summary="Whether what is served is up to date")
def readyz(request: Request, response: Response) -> dict[str, Any]:
    """Return 503 and say what is wrong with store, log or analytics; what is in force is served on."""
    site = _site(request)
    reasons = [*not_alive(site), *not_ready(site)]
    if reasons:
        response.status_code = 503
    return {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "pools": len(site.board.registry.pools),
        "publications_waiting_for_the_store": site.freshness.unstored,
    }


@router.get("/metrics", tags=["operation"], summary="Metrics in Prometheus form", response_class=Response)
def metrics(request: Request) -> Response:
    """Return counters and gauges of this replica."""
    registry: CollectorRegistry = request.app.state.metrics
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
