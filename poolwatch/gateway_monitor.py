"""The monitor of gateways that run in one process: each by its id, or all as one where they are very many."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prometheus_client.core import Metric

from gateway.contract.counting import added
from gateway.contract.times import Clock
from gateway.counters import GatewayCounters
from gateway.figures import GatewayFigures, not_sending, summed
from gateway.service import GatewayService
from poolwatch.monitor import fields_as_metrics, monitored, stuck

#: More than so many are told as one, `gateway_id="all"`: some 30 series for each would be too many for one scrape.
TOLD_AT_MOST = 500


class GatewayGauges:
    """Metrics of gateways; asks them to write their figures down."""

    def __init__(self, gateways: Sequence[GatewayService], *, told_at_most: int = TOLD_AT_MOST) -> None:
        self._gateways = gateways
        self._told_at_most = told_at_most
        for gateway in gateways:
            gateway.figures = GatewayFigures()

    def figures(self) -> dict[str, GatewayFigures]:
        """Figures by gateway, as last taken."""
        return {one.gateway_id: one.figures for one in self._gateways if one.figures is not None}

    def metrics(self) -> list[Metric]:
        """Metrics now."""
        figures = self.figures()
        counters = {one.gateway_id: one.counters for one in self._gateways}
        if len(self._gateways) > self._told_at_most:
            figures = {"all": summed(list(figures.values()))}
            counters = {"all": added(GatewayCounters, list(counters.values()))}
        return [
            *fields_as_metrics("gateway", counters, label="gateway_id"),
            *fields_as_metrics("gateway", figures, label="gateway_id"),
        ]

    def last_round_ms(self) -> int:
        """When the loop came round last, as far as figures tell it."""
        return max((one.figures_at_ms for one in self.figures().values()), default=0)


def watching_gateways(
    *, host: str, port: int | None, clock: Clock
) -> Callable[[Sequence[GatewayService]], Any]:
    """Context for running gateways that serves their monitor meanwhile; without a port, nothing is served."""

    @contextmanager
    def watch(gateways: Sequence[GatewayService]) -> Iterator[None]:
        if port is None:
            yield
            return
        started_ms = clock()
        gauges = GatewayGauges(gateways)

        def not_alive() -> list[str]:
            return stuck(gauges.last_round_ms(), started_ms=started_ms, clock=clock, what="measured or sent")

        with monitored(
            "gateway",
            host=host,
            port=port,
            gauges=gauges.metrics,
            not_alive=not_alive,
            not_ready=lambda: not_sending(gauges.figures(), clock()),
        ):
            yield

    return watch
