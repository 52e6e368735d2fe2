"""The monitor of gateways of one process."""

import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from gateway.contract.credentials import Credential
from gateway.outbox import Draft, Outbox
from gateway.publisher import Publisher
from gateway.service import GatewayService
from poolwatch.gateway_monitor import GatewayGauges, watching_gateways
from tests.integration.fault_bench import free_port

T0 = 1_782_892_800_000


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[list[GatewayService]]:
    """Two gateways without a broker; the second one's outbox holds a message of three readings."""
    made = []
    with ExitStack() as stack:
        for name in ("gw-a", "gw-b"):
            outbox = Outbox(tmp_path / name / "outbox.sqlite")
            stack.callback(outbox.close)
            outbox.begin_boot("b", T0)
            publisher = Publisher(gateway_id=name, credential=Credential(name, "p", "127.0.0.1", 1))
            made.append(
                GatewayService(
                    gateway_id=name, sensors=[], outbox=outbox, publisher=publisher, clock=lambda: T0
                )
            )
        made[1].outbox.append([Draft("pools/p/gateways/gw-b/readings", lambda _: b"x", 3)], T0 - 5)
        yield made


def told(metrics: list[Metric]) -> dict[tuple[str, str], float]:
    return {
        (sample.name.removeprefix("poolwatch_gateway_"), sample.labels["gateway_id"]): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def test_a_gateway_that_nobody_watches_writes_nothing_down(gateways: list[GatewayService]) -> None:
    gateways[0].step(T0)
    assert gateways[0].figures is None


def test_each_gateway_is_told_by_its_id(gateways: list[GatewayService]) -> None:
    gauges = GatewayGauges(gateways)
    for gateway in gateways:
        gateway.step(T0)
    numbers = told(gauges.metrics())
    assert [numbers["outbox_readings", name] for name in ("gw-a", "gw-b")] == [0, 3]
    assert [numbers["oldest_kept_at_ms", name] for name in ("gw-a", "gw-b")] == [0, T0 - 5]
    assert [numbers["sent_total", name] for name in ("gw-a", "gw-b")] == [0, 0]
    assert gauges.last_round_ms() == T0


def test_many_are_told_as_one(gateways: list[GatewayService]) -> None:
    gauges = GatewayGauges(gateways, told_at_most=1)
    for number, gateway in enumerate(gateways, 1):
        gateway.counters.resent = 10 * number
        gateway.step(T0)
    numbers = told(gauges.metrics())
    assert {name for _, name in numbers} == {"all"}
    assert (numbers["resent_total", "all"], numbers["outbox_messages", "all"]) == (30, 1)


def test_an_outbox_that_fails_is_told(gateways: list[GatewayService]) -> None:
    gauges = GatewayGauges(gateways)
    gateways[1].outbox._connection.execute("DROP TABLE dropped")
    for gateway in gateways:
        gateway.step(T0)
    assert [told(gauges.metrics())["outbox_works", name] for name in ("gw-a", "gw-b")] == [1, 0]


def test_the_monitor_is_served_while_gateways_run(gateways: list[GatewayService]) -> None:
    port = free_port()
    with watching_gateways(host="127.0.0.1", port=port, clock=lambda: T0)(gateways):
        gateways[0].step(T0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    assert 'poolwatch_gateway_outbox_works{gateway_id="gw-a"} 1.0' in text


def test_without_a_port_nobody_watches(gateways: list[GatewayService]) -> None:
    with watching_gateways(host="127.0.0.1", port=None, clock=lambda: T0)(gateways):
        assert gateways[0].figures is None
