"""What is served now: one snapshot a pool, ready as bytes, in memory and on disk; and who listens for changes."""

import asyncio
import gzip
import hashlib
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from analytics.results import PoolState, decode_pool_state
from dashboards.public.publication_log import PublicationLog
from dashboards.public.snapshots import (
    Snapshot,
    build_snapshot,
    expires_at_ms,
    list_entry,
    publication_row,
    unknown_snapshot,
    withhold_expired,
    worst_first,
)
from gateway.contract.registry import Registry
from gateway.contract.times import Clock

_log = structlog.get_logger()

#: A pool is published at most this often. [ms]
MIN_INTERVAL_MS = 1000


@dataclass(frozen=True, slots=True)
class Published:
    """A snapshot as it is served; `etag` is from its hash. From `expires_ms` on one of its numbers may not be shown."""

    snapshot: Snapshot
    body: bytes
    etag: str
    expires_ms: int | None

    def in_force(self, now_ms: int) -> bool:
        """Whether every number of it may still be shown."""
        return self.expires_ms is None or now_ms < self.expires_ms


@dataclass(frozen=True, slots=True)
class PublishedList:
    """The list of all pools as it is served, plain and compressed."""

    body: bytes
    compressed: bytes
    etag: str


class Subscriber:
    """One client of the stream. What it has not taken yet is kept once a pool, so a slow one holds little."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool_id: str | None) -> None:
        self._loop = loop
        self._pool_id = pool_id
        self._waiting: dict[str, Published] = {}
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Changes that it has not taken yet."""
        return len(self._waiting)

    def offer(self, published: Published) -> None:
        """Hand over a change, from any thread."""
        if self._pool_id is None or published.snapshot["pool_id"] == self._pool_id:
            # A loop that is closed has no client to tell.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._put, published)

    def _put(self, published: Published) -> None:
        self._waiting[published.snapshot["pool_id"]] = published
        self._news.set()

    async def take(self, *, wait_s: float) -> list[Published]:
        """Changes since the last call; empty after `wait_s` without one."""
        try:
            await asyncio.wait_for(self._news.wait(), wait_s)
        except TimeoutError:
            return []
        self._news.clear()
        taken = list(self._waiting.values())
        self._waiting.clear()
        return taken


@dataclass(slots=True)
class BoardCounters:
    """For the metrics."""

    publications: int = 0
    withheld: int = 0
    log_failures: int = 0


class PublicBoard:
    """The current snapshots. One thread writes (`publish`, `withhold`), any may read.

    Parameters
    ----------
    log : PublicationLog
        Gets a row before anything new is served.
    folder : Path
        Keeps the snapshots on disk, so that a start without a store serves what is still in force.
    replica : str
        Name of this replica in the log.
    """

    def __init__(
        self, *, log: PublicationLog, folder: Path, registry: Registry, replica: str, clock: Clock
    ) -> None:
        self.counters = BoardCounters()
        self.registry = registry
        self._log = log
        self._folder = folder
        self._replica = replica
        self._clock = clock
        self._lock = threading.Lock()
        self._current: dict[str, Published] = {}
        self._list: PublishedList | None = None
        self._changes = 0  # so that a list made of what was served before a change is not kept after it
        self._waiting: dict[str, PoolState] = {}
        self._last_ms: dict[str, int] = {}
        self._subscribers: set[Subscriber] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._load()

    def _load(self) -> None:
        """Take back what was served before the last end; the rest of the registry is not yet connected."""
        notice = False
        for pool in self.registry.pools.values():
            try:
                snapshot = msgspec.json.decode((self._folder / f"{pool.pool_id}.json").read_bytes())
                # Numbers that expired meanwhile are withheld by `get` at once, and logged by the first `publish`.
                self._current[pool.pool_id] = _ready(snapshot)
                notice = notice or bool(snapshot["notice"])
            except FileNotFoundError:
                continue
            except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
                _log.warning("a snapshot on disk is not usable", pool_id=pool.pool_id, error=str(error))
        self._add_unknown(notice=notice)

    def _add_unknown(self, *, notice: bool) -> None:
        now_ms = self._clock()
        for pool in self.registry.pools.values():
            if pool.pool_id not in self._current:
                snapshot = unknown_snapshot(
                    pool=pool, registry=self.registry, published_at_ms=now_ms, notice=notice
                )
                self._current[pool.pool_id] = _ready(snapshot)

    def replace_registry(self, registry: Registry) -> None:
        """Serve the pools of a new registry: new ones appear, those that are gone disappear."""
        with self._lock:
            self.registry = registry
            for pool_id in self._current.keys() - registry.pools.keys():
                del self._current[pool_id]
            self._add_unknown(notice=any(one.snapshot["notice"] for one in self._current.values()))
            self._list = None
            self._changes += 1

    @property
    def notice(self) -> bool:
        """Whether any pool has a profile that wants a notice on every page."""
        return any(published.snapshot["notice"] for published in list(self._current.values()))

    def submit(self, states: Iterable[PoolState]) -> None:
        """Take states from analytics; the newest of a pool is published by the next `publish`."""
        for state in states:
            self._waiting[state.pool_id] = state

    def publish(self, now_ms: int) -> int:
        """Publish what waits and is due, and withhold what is expired: logged first, then served.

        Returns
        -------
        int
            How many pools changed.

        Raises
        ------
        PublicationLogError
            If the log cannot be written; nothing is served then, and the states go on waiting.
        """
        due = [
            state
            for pool_id, state in self._waiting.items()
            if now_ms - self._last_ms.get(pool_id, 0) >= MIN_INTERVAL_MS
        ]
        fresh: dict[str, Snapshot] = {}
        for state in due:
            pool = self.registry.pools.get(state.pool_id)
            if pool is not None:
                fresh[state.pool_id] = build_snapshot(
                    state, pool=pool, registry=self.registry, published_at_ms=now_ms
                )
        for pool_id, published in self._current.items():
            if pool_id not in fresh and not published.in_force(now_ms):
                fresh[pool_id] = withhold_expired(published.snapshot, now_ms=now_ms)
        changed = {
            pool_id: snapshot
            for pool_id, snapshot in fresh.items()
            if self._current[pool_id].snapshot["hash"] != snapshot["hash"]
        }
        if changed:
            self._log.append(
                [publication_row(snapshot, replica=self._replica) for snapshot in changed.values()]
            )
            self._serve(changed, now_ms)
            judged = {state.pool_id for state in due}
            self.counters.withheld += len(changed.keys() - judged)
        for state in due:
            del self._waiting[state.pool_id]
        return len(changed)

    def _serve(self, changed: dict[str, Snapshot], now_ms: int) -> None:
        ready = {pool_id: _ready(snapshot) for pool_id, snapshot in changed.items()}
        with self._lock:
            self._current |= ready
            self._list = None
            self._changes += 1
            subscribers = list(self._subscribers)
        for published in ready.values():
            for subscriber in subscribers:
                subscriber.offer(published)
        for pool_id, published in ready.items():
            self._last_ms[pool_id] = now_ms
            _write(self._folder / f"{pool_id}.json", published.body)
        self.counters.publications += len(ready)

    def next_due_ms(self) -> int | None:
        """When `publish` next has something to do without a new state: a pool that had to wait, or a number's end."""
        waiting = [self._last_ms.get(pool_id, 0) + MIN_INTERVAL_MS for pool_id in self._waiting]
        expiries = [published.expires_ms for published in self._current.values()]
        return min((*waiting, *(one for one in expiries if one is not None)), default=None)

    def get(self, pool_id: str) -> Published | None:
        """What is served of a pool; a number past its deadline is gone even if nobody published its end yet."""
        published = self._current.get(pool_id)
        if published is None:
            return None
        now_ms = self._clock()
        if published.in_force(now_ms):
            return published
        return _ready(withhold_expired(published.snapshot, now_ms=now_ms))

    def all(self) -> list[Snapshot]:
        """Snapshots of all pools, the worst first."""
        with self._lock:
            pool_ids = list(self._current)
        current = {
            pool_id: published.snapshot
            for pool_id in pool_ids
            if (published := self.get(pool_id)) is not None
        }
        return worst_first(current)

    def published_list(self) -> PublishedList:
        """The list of all pools, made once a change."""
        now_ms = self._clock()
        with self._lock:
            ready, changes = self._list, self._changes
            if ready is not None and all(published.in_force(now_ms) for published in self._current.values()):
                return ready
        body = msgspec.json.encode({"pools": [list_entry(snapshot) for snapshot in self.all()]})
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        made = PublishedList(body, gzip.compress(body, 6, mtime=0), etag)
        with self._lock:
            if changes == self._changes:
                self._list = made
        return made

    @asynccontextmanager
    async def subscribe(self, pool_id: str | None) -> AsyncIterator[tuple[Subscriber, list[Published]]]:
        """A subscriber to changes, and what is served as it begins."""
        subscriber = Subscriber(asyncio.get_running_loop(), pool_id)
        with self._lock:
            self._subscribers.add(subscriber)
            pool_ids = [pool_id] if pool_id is not None else list(self._current)
        try:
            yield subscriber, [published for one in pool_ids if (published := self.get(one)) is not None]
        finally:
            with self._lock:
                self._subscribers.discard(subscriber)

    @property
    def stream_waiting(self) -> int:
        """Changes that clients of the stream have not taken yet; at most one for each client and pool."""
        with self._lock:
            return sum(subscriber.waiting for subscriber in self._subscribers)

    @property
    def stream_clients(self) -> int:
        """How many clients listen to the stream."""
        return len(self._subscribers)


def decode_states(bodies: Iterable[bytes]) -> list[PoolState]:
    """States of stored bodies; one that is none is logged and left out."""
    states = []
    for body in bodies:
        try:
            states.append(decode_pool_state(body))
        except msgspec.DecodeError as error:
            _log.error(
                "a stored state is not readable; are analytics and dashboards of one version?",
                error=str(error),
            )
    return states


def _ready(snapshot: Snapshot) -> Published:
    body = msgspec.json.encode(snapshot)
    return Published(snapshot, body, f'"{snapshot["hash"][:32]}"', expires_at_ms(snapshot))


def _write(path: Path, body: bytes) -> None:
    """Replace a file at once, so that a reader never sees half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(body)
    fresh.replace(path)


@dataclass(slots=True)
class Freshness:
    """How the followers of the store are doing; read by readiness and metrics."""

    store_read_at_ms: int | None = None
    store_error: str | None = None
    log_error: str | None = None
    judged_at_ms: int | None = None
    round_at_ms: int | None = None
    unstored: int = 0
    oldest_unstored_at_ms: int | None = None
    errors: dict[str, int] = field(default_factory=dict)
