"""What operators watch of a service: `/metrics`, `/healthz` and `/readyz` on a port of its own, on loopback unless told.

A service gives its counters (a dataclass whose fields carry `help` in their metadata), gauges that are computed when asked,
and two questions: what keeps it from living, what keeps it from being ready.
"""

import dataclasses
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.contract.times import Clock, format_timestamp
from ingest.latencies import BOUNDS_S, Latencies
from ingest.port_holder import holder_of
from poolwatch.ports import PortTakenError

_log = structlog.get_logger()

#: A loop that has not come round for so long is stuck. Ours.
_STUCK_AFTER_MS = 60_000

Reasons = Callable[[], Sequence[str]]
Gauges = Callable[[], Iterable[Metric]]


def fields_as_metrics(service: str, numbers: Mapping[str, Any], *, label: str) -> list[Metric]:
    """Metrics of dataclasses of one type, one for each value of a label; fields as in `CounterFields`."""
    kind = type(next(iter(numbers.values()))) if numbers else None
    found: list[Metric] = []
    for field in () if kind is None else dataclasses.fields(kind):
        text = field.metadata.get("help")
        if text is None:
            continue
        make = GaugeMetricFamily if field.metadata.get("kind") == "gauge" else CounterMetricFamily
        metric = make(f"poolwatch_{service}_{field.name}", text, labels=[label])
        for name, one in numbers.items():
            metric.add_metric([name], getattr(one, field.name))
        found.append(metric)
    return found


class CounterFields(Collector):
    """Metrics of a dataclass of numbers: a field is `poolwatch_<service>_<field>`, a counter unless its `kind` is gauge."""

    def __init__(self, service: str, counters: Any) -> None:
        self._service = service
        self._counters = counters

    def describe(self) -> list[Metric]:
        """Names without numbers, so that two services never register the same."""
        return list(self.collect())

    def collect(self) -> Iterator[Metric]:
        """Metrics now."""
        for field in dataclasses.fields(self._counters):
            text = field.metadata.get("help")
            if text is None:
                continue
            name = f"poolwatch_{self._service}_{field.name}"
            number = getattr(self._counters, field.name)
            if field.metadata.get("kind") == "gauge":
                yield GaugeMetricFamily(name, text, value=number)
            else:
                yield CounterMetricFamily(name, text, value=number)


class _Gauges(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._gauges()


class Monitor:
    """Serves the three addresses from its own thread until `close`.

    Parameters
    ----------
    service : str
        Name of the service, the middle of its metrics' names.
    counters : dataclass, optional
        Numbers that the service counts.
    gauges : callable
        () -> metrics that are computed when asked; may be slow, is never asked twice at once.
    not_alive, not_ready : callables
        () -> reasons in words; none: all is well.

    Raises
    ------
    PortTakenError
        If another program holds the port; it is named.
    """

    def __init__(
        self,
        *,
        service: str,
        host: str,
        port: int,
        counters: Any = None,
        gauges: Gauges = tuple,
        not_alive: Reasons = tuple,
        not_ready: Reasons = tuple,
    ) -> None:
        registry = CollectorRegistry(auto_describe=False)
        if counters is not None:
            registry.register(CounterFields(service, counters))
        registry.register(_Gauges(gauges))
        answers = {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
            "/healthz": lambda: _verdict(not_alive(), good="alive", bad="not alive"),
            "/readyz": lambda: _verdict([*not_alive(), *not_ready()], good="ready", bad="not ready"),
        }
        try:
            self._server = ThreadingHTTPServer((host, port), _answering(answers))
        except OSError as error:
            raise PortTakenError(
                f"port {port} (--monitor-port) is held by {holder_of(port)}: end that, or give another port"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True)
        self._thread.start()
        _log.info("monitored", host=host, port=self.port)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_Answer = tuple[HTTPStatus, str, bytes]


def _verdict(reasons: Sequence[str], *, good: str, bad: str) -> _Answer:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = {"status": bad if reasons else good, "reasons": list(reasons)}
    return status, "application/json", json.dumps(body, ensure_ascii=False).encode()


def _answering(answers: dict[str, Callable[[], _Answer]]) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            if answer is None:
                known = f"nothing at {self.path[:100]}; there are {', '.join(answers)}\n"
                self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", known.encode())
                return
            try:
                with lock:
                    status, kind, body = answer()
            except Exception:  # noqa: BLE001 - a question that fails must not end the thread; it is logged and told
                _log.exception("the monitor could not answer", path=self.path)
                status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"see the log\n"
            self._send(status, kind, body)

        def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            """Nothing: a scrape every few seconds is no news."""

    return Handler


def as_gauges(service: str, numbers: Mapping[str, tuple[str, float]]) -> list[Metric]:
    """Metrics of numbers that a service computes when asked: help text and number, by name."""
    return [
        GaugeMetricFamily(f"poolwatch_{service}_{name}", text, value=number)
        for name, (text, number) in numbers.items()
    ]


def as_histograms(service: str, latencies: Mapping[str, tuple[str, Latencies]]) -> list[Metric]:
    """Histograms of what took time: help text and latencies, by name."""
    found: list[Metric] = []
    for name, (text, one) in latencies.items():
        seen = one.observed()
        buckets = [(repr(bound_s), float(count)) for bound_s, count in zip(BOUNDS_S, seen.up_to, strict=True)]
        buckets.append(("+Inf", float(seen.number)))
        found.append(
            HistogramMetricFamily(f"poolwatch_{service}_{name}", text, buckets=buckets, sum_value=seen.sum_s)
        )
    return found


def stuck(last_round_ms: int, *, started_ms: int, clock: Clock, what: str) -> list[str]:
    """Reason why a loop that should come round often is stuck; none if it is not."""
    last_ms = max(last_round_ms, started_ms)
    if clock() - last_ms < _STUCK_AFTER_MS:
        return []
    return [f"nothing was {what} since {format_timestamp(last_ms)}: the loop is stuck; restart the service"]


@contextmanager
def monitored(
    service: str,
    *,
    host: str,
    port: int | None,
    counters: Any = None,
    gauges: Gauges = tuple,
    not_alive: Reasons = tuple,
    not_ready: Reasons = tuple,
) -> Iterator[None]:
    """Serve a service's monitor meanwhile; without a port, nothing is served."""
    if port is None:
        yield
        return
    monitor = Monitor(
        service=service,
        host=host,
        port=port,
        counters=counters,
        gauges=gauges,
        not_alive=not_alive,
        not_ready=not_ready,
    )
    try:
        yield
    finally:
        monitor.close()
