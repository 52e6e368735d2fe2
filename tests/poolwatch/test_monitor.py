import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric

from ingest.latencies import Latencies
from poolwatch.monitor import Monitor, as_histograms, fields_as_metrics, monitored, stuck
from poolwatch.ports import PortTakenError

LOOPBACK = "127.0.0.1"
T0 = 1_782_892_800_000


@dataclass
class Numbers:
    taken: int = field(default=0, metadata={"help": "What was taken."})
    waiting: int = field(default=0, metadata={"help": "What waits.", "kind": "gauge"})
    unspoken: int = 0


class Bench:
    def __init__(self) -> None:
        self.numbers = Numbers()
        self.not_alive: list[str] = []
        self.not_ready: list[str] = []
        self.monitor = Monitor(
            service="bench",
            host=LOOPBACK,
            port=0,
            counters=self.numbers,
            gauges=self.gauges,
            not_alive=lambda: self.not_alive,
            not_ready=lambda: self.not_ready,
        )

    def gauges(self) -> list[Metric]:
        boxes = GaugeMetricFamily("poolwatch_bench_fill_ratio", "How full.", labels=["box"])
        boxes.add_metric(["gw-a"], 0.25)
        return [boxes]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.monitor.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.monitor.close()


def test_counters_and_gauges_are_told_as_they_are_now(bench: Bench) -> None:
    bench.numbers.taken, bench.numbers.waiting, bench.numbers.unspoken = 3, 7, 9
    status, text = bench.get("/metrics")
    lines = text.splitlines()
    assert status == 200
    assert "# HELP poolwatch_bench_taken_total What was taken." in lines
    assert "poolwatch_bench_taken_total 3.0" in lines
    assert "# TYPE poolwatch_bench_waiting gauge" in lines
    assert "poolwatch_bench_waiting 7.0" in lines
    assert 'poolwatch_bench_fill_ratio{box="gw-a"} 0.25' in lines
    assert "unspoken" not in text
    bench.numbers.taken = 4
    assert "poolwatch_bench_taken_total 4.0" in bench.get("/metrics")[1].splitlines()


def test_readiness_says_in_words_what_is_missing(bench: Bench) -> None:
    assert bench.get("/readyz") == (200, json.dumps({"status": "ready", "reasons": []}))
    bench.not_ready = ["the broker is away 不可达"]
    status, text = bench.get("/readyz")
    assert (status, json.loads(text)) == (
        503,
        {"status": "not ready", "reasons": ["the broker is away 不可达"]},
    )
    assert bench.get("/healthz")[0] == 200


def test_what_is_not_alive_is_not_ready_either(bench: Bench) -> None:
    bench.not_alive = ["the loop is stuck"]
    assert bench.get("/healthz")[0] == 503
    assert json.loads(bench.get("/readyz")[1])["reasons"] == ["the loop is stuck"]


def test_another_address_is_answered_with_those_that_exist(bench: Bench) -> None:
    status, text = bench.get("/status")
    assert status == 404
    assert "/metrics, /healthz, /readyz" in text


def test_a_question_that_fails_is_an_error_and_ends_nothing(bench: Bench) -> None:
    bench.not_ready = None  # type: ignore[assignment]
    assert bench.get("/readyz")[0] == 500
    bench.not_ready = []
    assert bench.get("/readyz")[0] == 200


def test_a_port_that_is_taken_is_refused(bench: Bench) -> None:
    with pytest.raises(PortTakenError, match=f"port {bench.monitor.port} "):
        Monitor(service="other", host=LOOPBACK, port=bench.monitor.port, counters=Numbers())


def test_without_a_port_nothing_is_served() -> None:
    with monitored("none", host=LOOPBACK, port=None, counters=Numbers()):
        pass


def test_a_loop_is_stuck_after_a_minute_without_a_round() -> None:
    assert stuck(0, started_ms=T0, clock=lambda: T0 + 59_999, what="judged") == []
    assert stuck(T0 + 30_000, started_ms=T0, clock=lambda: T0 + 89_999, what="judged") == []
    (reason,) = stuck(T0 + 30_000, started_ms=T0, clock=lambda: T0 + 90_000, what="judged")
    assert "nothing was judged since 2026-07-01T08:00:30.000Z" in reason


def test_a_histogram_is_told_with_its_buckets() -> None:
    latencies = Latencies()
    for seconds in (0.002, 0.2, 60.0):
        latencies.observe(seconds)
    (metric,) = as_histograms("bench", {"wait_seconds": ("How long.", latencies)})
    told = {
        (sample.name.rpartition("_")[2], *sample.labels.values()): sample.value for sample in metric.samples
    }
    assert (metric.name, metric.type, metric.documentation) == (
        "poolwatch_bench_wait_seconds",
        "histogram",
        "How long.",
    )
    assert (told["bucket", "0.001"], told["bucket", "0.003"], told["bucket", "0.3"]) == (0, 1, 2)
    assert (told["bucket", "30.0"], told["bucket", "+Inf"]) == (2, 3)
    assert told["count",] == 3
    assert told["sum",] == pytest.approx(60.202)


def test_the_same_numbers_of_several_are_told_by_a_label() -> None:
    counters, gauges = fields_as_metrics(
        "bench", {"gw-a": Numbers(taken=3), "gw-b": Numbers(waiting=4)}, label="gateway_id"
    )
    assert [(sample.name, sample.labels["gateway_id"], sample.value) for sample in counters.samples] == [
        ("poolwatch_bench_taken_total", "gw-a", 3),
        ("poolwatch_bench_taken_total", "gw-b", 0),
    ]
    assert [sample.value for sample in gauges.samples] == [0, 4]
    assert fields_as_metrics("bench", {}, label="gateway_id") == []


def test_a_monitor_may_have_gauges_alone() -> None:
    monitor = Monitor(service="bench", host=LOOPBACK, port=0)
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{monitor.port}/metrics", timeout=5) as answer:
            assert answer.read() == b""
    finally:
        monitor.close()
