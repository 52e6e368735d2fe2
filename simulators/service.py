"""The shell of a simulation: real gateways, outboxes and connections, with simulated instruments behind them."""

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.contract.credentials import Credentials
from gateway.contract.times import Clock
from gateway.outbox import Outbox
from gateway.publisher import Backoff, Publisher
from gateway.running import run_gateways
from gateway.sensors.ports import SensorPort
from gateway.service import GatewayService
from simulators.faults import FaultKind
from simulators.pools import SimulatedPool
from simulators.probes import PoolProbes, standard_probes
from simulators.scenarios import Scenario, ScenarioError, ScenarioPool
from simulators.staff import StaffTests

_log = structlog.get_logger()

#: Gateways of one machine start one after another within this time, as no two real ones measure at the same instant.
_SPREAD_S = 1.0


@dataclass(slots=True)
class SimulatedGateway(GatewayService):
    """A gateway whose line to the broker is cut while `link_is_cut` says so; when the run ends it comes back."""

    link_is_cut: Callable[[int], bool] = field(kw_only=True)
    _is_cut: bool = False

    def step(self, now_ms: int) -> float:
        """One round of the gateway, after cutting or restoring its line."""
        cut = self.measuring and self.link_is_cut(now_ms)
        if cut and not self._is_cut:
            _log.warning("fault: the line is cut", gateway_id=self.gateway_id)
            self.disconnect_abruptly()
        elif self._is_cut and not cut:
            _log.warning("fault over: the line is back", gateway_id=self.gateway_id)
            self.reconnect()
        self._is_cut = cut
        return GatewayService.step(self, now_ms)  # super() does not work in a dataclass with slots


def build_sensors(scenario: Scenario, pool: ScenarioPool) -> list[SensorPort]:
    """Return the instruments and the staff of one pool, around the same water."""

    def chance(of: str) -> random.Random:
        return random.Random(f"{scenario.seed}/{pool.pool_id}/{of}")

    simulated = SimulatedPool(
        pool_id=pool.pool_id,
        water=pool.water,
        start_ms=scenario.start_ms,
        faults_at=scenario.active_faults,
        rng=chance("water"),
        bathers=pool.bathers,
        time_factor=scenario.time_factor,
    )
    return [
        PoolProbes(
            pool=simulated,
            models=standard_probes(chlorine_slope=pool.chlorine_slope),
            interval_s=scenario.interval_s,
            rng=chance("probes"),
        ),
        StaffTests(pool=simulated, by=pool.tester, interval_s=pool.test_interval_s, rng=chance("staff")),
    ]


def build_gateways(
    scenario: Scenario, *, gateways_dir: Path, credentials: Credentials, clock: Clock
) -> list[GatewayService]:
    """Return the gateways of a scenario with their outboxes at `gateways_dir`/<gateway_id>/outbox.sqlite, not started.

    Raises
    ------
    ScenarioError
        If a gateway has no credential.
    OutboxError
        If an outbox cannot be used.
    """
    missing = [name for name in scenario.gateway_ids if name not in credentials.gateways]
    if missing:
        raise ScenarioError(
            f"no credentials for {', '.join(missing)}: the data folder belongs to another scenario or another number "
            "of pools; give those, or another folder"
        )
    services: list[GatewayService] = []
    try:
        for gateway_id in scenario.gateway_ids:
            services.append(_gateway(scenario, gateway_id, gateways_dir, credentials, clock))  # noqa: PERF401 - closed below if one fails
    except BaseException:
        for service in services:
            service.outbox.close()
        raise
    return services


def _gateway(
    scenario: Scenario, gateway_id: str, gateways_dir: Path, credentials: Credentials, clock: Clock
) -> GatewayService:
    def link_is_cut(now_ms: int) -> bool:
        faults = scenario.active_faults((now_ms - scenario.start_ms) / 1000.0)
        return any(
            fault.kind is FaultKind.DEAD_GATEWAY and fault.gateway_id == gateway_id for fault in faults
        )

    sensors = [sensor for pool in scenario.pools_of(gateway_id) for sensor in build_sensors(scenario, pool)]
    return SimulatedGateway(
        gateway_id=gateway_id,
        sensors=sensors,
        outbox=Outbox(gateways_dir / gateway_id / "outbox.sqlite"),
        publisher=Publisher(
            gateway_id=gateway_id,
            credential=credentials.gateways[gateway_id],
            # Short: a person who watches a broker restart should not wait for 20 s.
            backoff=Backoff(first_s=0.25, most_s=3.0),
        ),
        clock=clock,
        link_is_cut=link_is_cut,
    )


def run_scenario(
    scenario: Scenario,
    *,
    gateways_dir: Path,
    credentials: Credentials,
    clock: Clock,
    stop: threading.Event,
    watch: Callable[[Sequence[GatewayService]], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Run a scenario's gateways until `stop`, then send what is kept and close; `watch` is around all of it.

    Raises
    ------
    ScenarioError
        If a gateway has no credential.
    OutboxError
        If an outbox cannot be used, for example because another simulation runs in this folder.
    """
    services = build_gateways(scenario, gateways_dir=gateways_dir, credentials=credentials, clock=clock)
    with watch(services):
        for service in services:
            service.start_boot()
            stop.wait(min(_SPREAD_S, scenario.interval_s) / len(services))
        _log.info("simulating", scenario=scenario.name, pools=len(scenario.pools), gateways=len(services))
        run_gateways(services, stop=stop)
