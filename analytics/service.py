"""The shell of analytics: what changed, or what time alone changes → load → judge → write."""

import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from analytics.bench import Outcome, PoolBench
from analytics.counters import AnalyticsCounters
from analytics.errors import ProfileError
from analytics.results import Verdict, encode
from analytics.shard import Shard
from analytics.spans import FAR_MS
from analytics.standards.profile import load_profile
from gateway.contract.errors import RegistryError
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from gateway.contract.times import Clock
from ingest.store.ports import FactReader, ResultStore, StoreError
from ingest.store.records import Arrival, ArrivalKind, PoolStateRow, VerdictRow

_log = structlog.get_logger()

#: How often each pool's state is written in any case.
_STATE_EVERY_MS = 60_000
_AFTER_FAILURE_MS = 5_000
#: A judging that took long (years of late readings) is repeated only after this many times as long.
_REST_FACTOR = 4
_REST_FROM_S = 0.25
_ARRIVALS_AT_ONCE = 10_000
#: A publication that ends no lapse changes no verdict now; it waits so long for the next reading to be judged with it.
_PUBLICATION_WAITS_MS = 20_000
#: Facts stamped further ahead of this clock come from a machine whose clock differs too much to judge by.
_CLOCKS_DIFFER_MS = 30_000
#: Once they come as they should for so long, the clocks agree again. Ours.
_CLOCKS_SETTLE_MS = 600_000


@dataclass(slots=True)
class _Place:
    """A pool's bench and when it is due; `bench` is None until its facts could be read.

    `touched_ms`: from when on what arrived is to be judged; None: nothing waits. `missed_from_ms`: the earliest hour of
    what arrived and was not judged.
    """

    pool_id: str
    bench: PoolBench | None = None
    touched_ms: int | None = 0
    written_ms: int | None = None
    not_before_ms: int = 0
    missed_from_ms: int = FAR_MS

    def due_ms(self, now_ms: int) -> int:
        """When it is to be judged next."""
        due_ms = now_ms
        if self.bench is not None and self.written_ms is not None:
            due_ms = self.written_ms + _STATE_EVERY_MS
            for other_ms in (self.bench.next_change_ms, self.touched_ms):
                if other_ms is not None:
                    due_ms = min(due_ms, other_ms)
        return max(due_ms, self.not_before_ms)


class AnalyticsService:
    """Judges the pools of a registry. One writer per pool: run it once per store, or once per shard.

    Parameters
    ----------
    facts, results : FactReader, ResultStore
        The store's two sides.
    registry : Registry
        In force until the store has an accepted one.
    shard : Shard
        Which of its pools; all of them unless told otherwise.
    clock : Clock
        () -> milliseconds since the epoch.
    new_id : callable
        Gives a new opaque id for a verdict.
    """

    def __init__(
        self,
        *,
        facts: FactReader,
        results: ResultStore,
        registry: Registry,
        clock: Clock,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        shard: Shard | None = None,
        counters: AnalyticsCounters | None = None,
    ) -> None:
        self._facts = facts
        self._results = results
        self._clock = clock
        self._new_id = new_id
        self._registry = registry
        self._shard = shard or Shard()
        self.counters = counters or AnalyticsCounters()
        self._places: dict[str, _Place] = {pool_id: _Place(pool_id) for pool_id in self._owned(registry)}
        self._cursor: str | None = None
        self._progress: str | None = None
        self._started = False
        self._store_error = ""
        self._clocks_differ = False
        self._fast_at_ms = 0
        self._states: dict[str, int] | None = None

    def _owned(self, registry: Registry) -> list[str]:
        return [pool_id for pool_id in registry.pools if self._shard.owns(pool_id)]

    def run(self, stop: threading.Event) -> None:
        """Judge until `stop` is set. A store that is away is tried again for ever."""
        while not stop.is_set():
            try:
                wait_s = self.step(self._clock())
                self._store_error = ""
            except StoreError as error:
                self.counters.failures += 1
                self.counters.store_failures += 1
                self._store_error = str(error)
                _log.warning(
                    "store does not answer; trying again",
                    error=str(error),
                    failures=self.counters.failures,
                )
                wait_s = 1.0
            self.counters.last_round_at_ms = self._clock()
            stop.wait(max(wait_s, 0.001))

    def not_ready(self) -> list[str]:
        """What keeps verdicts from being up to date, in words."""
        reasons = []
        if self._store_error:
            reasons.append(f"the store does not answer: {self._store_error}")
        if self.counters.unjudged_pools:
            reasons.append(f"{self.counters.unjudged_pools} pool(s) cannot be judged: the log says why")
        if self._clocks_differ:
            reasons.append("facts are stamped ahead of this machine's clock: set the clocks")
        return reasons

    def step(self, now_ms: int) -> float:
        """Take in what arrived, judge the pools that are due, write; returns seconds until it is worth to call again.

        Raises
        ------
        StoreError
            If the store cannot be read or written; nothing is lost, the next call goes on from the same place.
        """
        begun_s = time.monotonic()
        self._start()
        arrivals, cursor = self._facts.arrivals_after(self._cursor, limit=_ARRIVALS_AT_ONCE)
        self._distribute(arrivals, now_ms)
        outcomes = [
            (place, outcome)
            for place in self._places.values()
            if place.due_ms(now_ms) <= now_ms and (outcome := self._judge(place, now_ms)) is not None
        ]
        self._write(outcomes, cursor=cursor, now_ms=now_ms)
        self._count(arrivals, now_ms)
        if outcomes:
            self.counters.round_ms = round((time.monotonic() - begun_s) * 1000)
        if len(arrivals) == _ARRIVALS_AT_ONCE:
            return 0.0
        next_ms = min((place.due_ms(now_ms) for place in self._places.values()), default=now_ms + 60_000)
        return min(self._facts.poll_s, max(next_ms - now_ms, 1) / 1000)

    def _count(self, arrivals: list[Arrival], now_ms: int) -> None:
        counters = self.counters
        counters.pools = len(self._places)
        counters.unjudged_pools = sum(place.bench is None for place in self._places.values())
        self._look_at_clocks(now_ms)
        counters.waiting_pools = sum(place.touched_ms is not None for place in self._places.values())
        counters.arrivals_waiting = int(len(arrivals) == _ARRIVALS_AT_ONCE)
        if not arrivals:
            return
        counters.arrival_age_ms = max(0, now_ms - min(arrival.stored_at_ms for arrival in arrivals))
        counters.arrivals += len(arrivals)
        counters.last_arrival_at_ms = max(arrival.stored_at_ms for arrival in arrivals)
        fast = [arrival for arrival in arrivals if arrival.stored_at_ms > now_ms + _CLOCKS_DIFFER_MS]
        if fast:
            self._fast_at_ms = now_ms
        if fast and not self._clocks_differ:
            self._clocks_differ = True
            _log.error(
                "facts are stamped ahead of this machine's clock: set the clocks of ingest and analytics",
                pool_id=fast[0].pool_id,
                ahead_s=(fast[0].stored_at_ms - now_ms) / 1000,
            )
        counters.fast_clocks += len(fast)

    def _look_at_clocks(self, now_ms: int) -> None:
        if self._clocks_differ and not 0 <= now_ms - self._fast_at_ms < _CLOCKS_SETTLE_MS:
            self._clocks_differ = False
            _log.info("no fact was stamped ahead of this machine's clock of late: the clocks agree again")

    def _start(self) -> None:
        if self._started:
            return
        self._cursor = self._progress = self._results.progress(self._shard.name)
        self._reload_registry()
        self._started = True

    def _reload_registry(self) -> None:
        """Take the newest accepted registry of the store; a faulty one is refused, the old one stays in force."""
        text = self._facts.registry_text()
        if text is None:
            return
        try:
            registry = parse_registry(text)
        except RegistryError as error:
            self.counters.failures += 1
            self.counters.registry_refusals += 1
            _log.error("registry of the store cannot be used; the old one stays in force", error=str(error))
            return
        old, self._registry = self._registry, registry
        owned = self._owned(registry)
        for pool_id in owned:
            pool = registry.pools[pool_id]
            same = (
                old.pools.get(pool_id) == pool
                and old.venues.get(pool.venue_id) == registry.venues[pool.venue_id]
            )
            if not same or pool_id not in self._places:
                self._places[pool_id] = _Place(pool_id)
        for pool_id in self._places.keys() - set(owned):
            del self._places[pool_id]

    def _distribute(self, arrivals: list[Arrival], now_ms: int) -> None:
        by_pool: dict[str, list[Arrival]] = defaultdict(list)
        for arrival in arrivals:
            if arrival.kind is ArrivalKind.REGISTRY:
                self._reload_registry()
            else:
                by_pool[arrival.pool_id].append(arrival)
        for pool_id, of_pool in by_pool.items():
            place = self._places.get(pool_id)
            if place is None:
                continue
            place.missed_from_ms = min([place.missed_from_ms, *(arrival.hour_ms for arrival in of_pool)])
            try:
                bench = place.bench
                if bench is None:
                    bench = self._open_bench(place)
                bench.arrived(of_pool)
                waits = not bench.lacks_publication and all(
                    arrival.kind is ArrivalKind.PUBLICATION for arrival in of_pool
                )
                due_ms = now_ms + _PUBLICATION_WAITS_MS if waits else now_ms
                place.touched_ms = due_ms if place.touched_ms is None else min(place.touched_ms, due_ms)
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - the service's loop: one pool's failure stops no other
                self._failed(place, error, now_ms)

    def _open_bench(self, place: _Place) -> PoolBench:
        pool = self._registry.pools[place.pool_id]
        if self._states is None:
            self._states = {pool_id: row.at_ms for pool_id, row in self._results.pool_states().items()}
        place.bench = PoolBench(
            pool=pool,
            venue=self._registry.venue_of(pool),
            profile=load_profile(pool.profile),
            facts=self._facts,
            results=self._results,
            last_state_ms=self._states.get(place.pool_id),
            changed_from_ms=place.missed_from_ms,
            new_id=self._new_id,
        )
        return place.bench

    def _judge(self, place: _Place, now_ms: int) -> Outcome | None:
        began_s = time.monotonic()
        try:
            bench = self._open_bench(place) if place.bench is None else place.bench
            outcome = bench.judge(now_ms)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the service's loop: one pool's failure stops no other
            self._failed(place, error, now_ms)
            return None
        took_s = time.monotonic() - began_s
        place.not_before_ms = now_ms + round(took_s * _REST_FACTOR * 1000) if took_s > _REST_FROM_S else 0
        self.counters.judgements += 1
        return outcome

    def _failed(self, place: _Place, error: Exception, now_ms: int) -> None:
        """Count, log, and begin again with this pool from the store after a while; `missed_from_ms` says from when."""
        self.counters.failures += 1
        place.bench = None
        place.not_before_ms = now_ms + _AFTER_FAILURE_MS
        known = isinstance(error, ProfileError)
        _log.error(
            "a pool could not be judged; trying again",
            pool_id=place.pool_id,
            error=str(error),
            failures=self.counters.failures,
            exc_info=None if known else error,
        )

    def _write(self, outcomes: list[tuple[_Place, Outcome]], *, cursor: str, now_ms: int) -> None:
        """Write everything in one step, and only then go on from it."""
        verdicts = [_row(verdict) for _, outcome in outcomes for verdict in outcome.revisions]
        states = [
            PoolStateRow(place.pool_id, now_ms, outcome.state.state, encode(outcome.state))
            for place, outcome in outcomes
            if outcome.state_changed
            or place.written_ms is None
            or now_ms >= place.written_ms + _STATE_EVERY_MS
        ]
        # What arrived for a pool that cannot be judged is read again after a restart: progress waits for it.
        judged = {place.pool_id for place, _ in outcomes}
        behind = any(
            place.bench is None and place.missed_from_ms < FAR_MS
            for pool_id, place in self._places.items()
            if pool_id not in judged
        )
        progress = self._progress if behind else cursor
        if verdicts or states or progress != self._progress:
            self._results.write_results(
                verdicts=verdicts, states=states, progress=progress, reader=self._shard.name
            )
            self.counters.revisions += len(verdicts)
        self._cursor, self._progress = cursor, progress
        written = {row.pool_id for row in states}
        for place, outcome in outcomes:
            place.touched_ms = None
            place.missed_from_ms = FAR_MS
            if self._states is not None:
                self._states[place.pool_id] = now_ms
            if place.pool_id in written:
                place.written_ms = now_ms
            if place.bench is not None:
                place.bench.accept(outcome, now_ms)


def _row(verdict: Verdict) -> VerdictRow:
    return VerdictRow(
        verdict_id=verdict.verdict_id,
        revision=verdict.revision,
        kind=verdict.kind,
        pool_id=verdict.pool_id,
        state=verdict.state,
        start_ms=verdict.start_ms,
        end_ms=verdict.end_ms,
        judged_at_ms=verdict.judged_at_ms,
        body=encode(verdict),
    )
