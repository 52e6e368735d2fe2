"""A public service with a clock of its own, a registry of two pools, and a real store."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn

from analytics.results import PoolCondition, PoolState, Reason, ShownValue, ValueState, encode
from dashboards.public.app import create_app
from dashboards.public.board import Freshness, PublicBoard
from dashboards.public.followers import LogFollower, StateFollower
from dashboards.public.publication_log import PublicationLog
from dashboards.public.site import Site
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from ingest.store.opening import open_store
from ingest.store.ports import Store
from ingest.store.records import PoolStateRow

T0 = 1_782_892_800_000  # 2026-07-01T08:00:00Z

REGISTRY = """
schema = 1
[venues.v]
name_zh = "清枫<script>alert(1)</script>"
name_en = "Qingfeng & Co"
district = "天宁"
[pools.p1]
venue = "v"
name_zh = "主池"
name_en = "Main pool"
kind = "indoor"
profile = "demo"
[[pools.p1.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return line"
interval_s = 10
[pools.p2]
venue = "v"
name_zh = "副池"
name_en = "Side pool"
kind = "indoor"
"""


def _shown(
    value: float | None = 0.52,
    *,
    state: ValueState = ValueState.IN_STANDARD,
    measured_at_ms: int = T0,
    valid_s: float = 60.0,
    kind: str = "online",
    reason: Reason | None = None,
) -> ShownValue:
    return ShownValue(
        quantity="free_chlorine_mg_l",
        sensor_id="fc-1",
        place="return line",
        kind=kind,
        value=value,
        unit="mg/L",
        limit=(0.3, 1.0),
        binding=True,
        clause="GB 37488-2019",
        state=state,
        measured_at_ms=measured_at_ms,
        valid_until_ms=measured_at_ms + int(valid_s * 1000),
        reason=reason,
    )


def _pool_state(
    *values: ShownValue,
    pool_id: str = "p1",
    state: PoolCondition = PoolCondition.IN_STANDARD,
    at_ms: int = T0,
) -> PoolState:
    return PoolState(
        pool_id=pool_id,
        venue_id="v",
        district="天宁",
        at_ms=at_ms,
        state=state,
        reason=None,
        expected=True,
        open=True,
        opens_at_ms=None,
        closes_at_ms=None,
        values=list(values),
        duties=[],
        open_verdicts=[],
        profile="demo",
        profile_notice=True,
    )


@pytest.fixture
def make_value() -> Callable[..., ShownValue]:
    """A shown value, good unless told otherwise."""
    return _shown


@pytest.fixture
def make_state() -> Callable[..., PoolState]:
    """A state of a pool with values."""
    return _pool_state


@dataclass
class TickingClock:
    """A clock that stands until it is moved."""

    now_ms: int = T0

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class Service:
    """All parts of the public service, without its threads."""

    folder: Path
    store: Store
    clock: TickingClock
    registry: Registry
    log: PublicationLog
    board: PublicBoard
    site: Site
    states: StateFollower
    publications: LogFollower
    logged: threading.Event = field(default_factory=threading.Event)

    def judge(self, *states: PoolState) -> None:
        """Play analytics."""
        self.store.write_results(
            verdicts=[],
            states=[
                PoolStateRow(state.pool_id, state.at_ms, state.state.value, encode(state)) for state in states
            ],
        )


def make_service(folder: Path, store: Store, clock: TickingClock) -> Service:
    registry = parse_registry(REGISTRY)
    log = PublicationLog(folder / "publications.sqlite")
    board = PublicBoard(log=log, folder=folder / "snapshots", registry=registry, replica="r1", clock=clock)
    freshness = Freshness()
    logged = threading.Event()
    states = StateFollower(
        store=store,
        board=board,
        freshness=freshness,
        clock=clock,
        logged=logged,
        reload_registry=lambda: None,
    )
    publications = LogFollower(log=log, store=store, freshness=freshness, clock=clock, logged=logged)
    site = Site(board=board, store=store, freshness=freshness, clock=clock)
    return Service(folder, store, clock, registry, log, board, site, states, publications, logged)


@contextmanager
def _running(service: Service) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(create_app(service.site), log_config=None, timeout_graceful_shutdown=3)
        )
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            service.site.stopping.set()
            server.should_exit = True
            thread.join(15)
            assert not thread.is_alive()


@pytest.fixture
def restart() -> Callable[[Service], Service]:
    """The same service after an end and a new start."""

    def restarted(service: Service) -> Service:
        service.log.close()
        return make_service(service.folder, service.store, service.clock)

    return restarted


@pytest.fixture
def serve() -> Callable[[Service], AbstractContextManager[str]]:
    """Serve a service over HTTP on a free port; gives its address."""
    return _running


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    store = open_store(f"sqlite:{tmp_path / 'store.sqlite'}")
    made = make_service(tmp_path / "public", store, TickingClock())
    yield made
    made.log.close()
    store.close()
