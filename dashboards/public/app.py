"""The web application: routes, one shape for errors, headers that keep a browser on this host."""

from pathlib import Path

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.public import api, pages
from dashboards.public.errors import PublicError
from dashboards.public.metrics import BoardCollector
from dashboards.public.site import Site
from ingest.store.ports import StoreError

_log = structlog.get_logger()

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_NOT_FOUND, _UNAVAILABLE = 404, 503
_CODES = {_NOT_FOUND: "not_found", 405: "method_not_allowed"}
_MESSAGES = {
    _NOT_FOUND: "There is nothing at this address; pools are at /, their data at /v1/pools.",
    405: "This service is read only: use GET.",
}


class _KeepOnThisHost:
    """Puts the headers on every answer as it starts, and so holds up no event of a stream."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, content in _HEADERS.items():
                    headers.setdefault(name, content)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def create_app(site: Site) -> FastAPI:
    """Application around a site's board and store."""
    app = FastAPI(
        title="poolwatch",
        description="Public results of pool water: readings, verdicts with their clause, and when they were published.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.site = site
    app.state.templates = pages.make_environment()
    app.state.metrics = CollectorRegistry()
    app.state.metrics.register(BoardCollector(site))
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")

    app.add_middleware(_KeepOnThisHost)

    @app.exception_handler(PublicError)
    async def public_error(request: Request, error: PublicError) -> Response:
        return _failure(request, error.status, error.code, error.message)

    @app.exception_handler(StoreError)
    async def store_error(request: Request, error: StoreError) -> Response:
        return _failure(
            request,
            _UNAVAILABLE,
            "store_unavailable",
            f"The store does not answer now ({error}). What is in force is still at /v1/pools; try again later.",
        )

    @app.exception_handler(RequestValidationError)
    async def bad_request(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"])
        return _failure(request, 422, "bad_request", f"{place}: {first['msg']}.")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "error")
        message = _MESSAGES.get(error.status_code, str(error.detail))
        return _failure(request, error.status_code, code, message)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        _log.error("a request failed", path=request.url.path, exc_info=error)
        failure = _failure(
            request, 500, "internal_error", "This service failed; its log says how. Try again later."
        )
        # This answer is made outside of the middleware.
        failure.headers.update(_HEADERS)
        return failure

    return app


def _failure(request: Request, status: int, code: str, message: str) -> Response:
    """A failure as a page for people and as JSON for programs."""
    if request.url.path.startswith(("/v1/", "/static/")) or "text/html" not in request.headers.get(
        "accept", ""
    ):
        return JSONResponse({"error": {"code": code, "message": message}}, status)
    template = request.app.state.templates.get_template("error.html")
    return HTMLResponse(
        template.render(status=status, message=message, notice=request.app.state.site.board.notice),
        status,
    )
