"""Two threads beside the web server: one follows the store's states, one brings the publication log into the store."""

import threading
from collections.abc import Callable

import structlog

from dashboards.public.board import Freshness, PublicBoard, decode_states
from dashboards.public.publication_log import PublicationLog, PublicationLogError
from gateway.contract.errors import RegistryError
from gateway.contract.registry import Registry
from gateway.contract.times import Clock
from ingest.store.ports import PublicationWriter, ResultStore, StoreError
from ingest.store.records import PoolStateRow

_log = structlog.get_logger()

_POLL_S = 0.1
_STATES_AT_ONCE = 1000
_REGISTRY_EVERY_MS = 1000
_FIRST_RETRY_S, _MOST_RETRY_S = 0.2, 10.0


class StateFollower:
    """Publishes what analytics wrote, soon after it did, and takes numbers away when their time is over."""

    def __init__(
        self,
        *,
        store: ResultStore,
        board: PublicBoard,
        freshness: Freshness,
        clock: Clock,
        logged: threading.Event,
        reload_registry: Callable[[], Registry | None],
    ) -> None:
        self._store = store
        self._board = board
        self._freshness = freshness
        self._clock = clock
        self._logged = logged
        self._reload_registry = reload_registry
        self._cursor: str | None = None
        self._registry_due_ms = 0

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop`."""
        while not stop.is_set():
            try:
                self.step()
            except PublicationLogError as error:
                self._board.counters.log_failures += 1
                self._freshness.log_error = str(error)
                _log.error("nothing new is published until the log can be written", error=str(error))
                stop.wait(1.0)
            except Exception:  # noqa: BLE001 - the loop must go on: a number may have to be taken away
                self._count("follower")
                _log.exception("following the store failed")
                stop.wait(1.0)
            self._freshness.round_at_ms = self._clock()
            stop.wait(_POLL_S)

    def step(self) -> int:
        """One round; returns how many pools changed."""
        now_ms = self._clock()
        if now_ms >= self._registry_due_ms:
            self._registry_due_ms = now_ms + _REGISTRY_EVERY_MS
            self._take_registry()
        try:
            self._read_states()
            self._freshness.store_read_at_ms = now_ms
            self._freshness.store_error = None
        except StoreError as error:
            self._count("store")
            if self._freshness.store_error is None:
                _log.warning("the store does not answer; what is in force is served on", error=str(error))
            self._freshness.store_error = str(error)
        changed = self._board.publish(self._clock())
        self._freshness.log_error = None
        if changed:
            self._logged.set()
        return changed

    def _read_states(self) -> None:
        """Read to the end before anything is submitted: a state that a newer one follows was overtaken long ago."""
        newest: dict[str, PoolStateRow] = {}
        cursor = self._cursor
        while True:
            rows, cursor = self._store.pool_states_after(cursor, limit=_STATES_AT_ONCE)
            newest |= {row.pool_id: row for row in rows}
            if len(rows) < _STATES_AT_ONCE:
                break
        self._board.submit(decode_states(row.body for row in newest.values()))
        self._cursor = cursor
        if newest:
            latest_ms = max(row.at_ms for row in newest.values())
            self._freshness.judged_at_ms = max(latest_ms, self._freshness.judged_at_ms or latest_ms)

    def _take_registry(self) -> None:
        try:
            registry = self._reload_registry()
        except RegistryError as error:
            self._count("registry")
            _log.error("the registry has mistakes; the old one stays in force", error=str(error))
            return
        if registry is not None:
            self._board.replace_registry(registry)
            self._cursor = None  # pools that are new to this board may have states already

    def _count(self, name: str) -> None:
        self._freshness.errors[name] = self._freshness.errors.get(name, 0) + 1


class LogFollower:
    """Brings logged publications into the store, and tries for ever."""

    def __init__(
        self,
        *,
        log: PublicationLog,
        store: PublicationWriter,
        freshness: Freshness,
        clock: Clock,
        logged: threading.Event,
    ) -> None:
        self._publication_log = log
        self._store = store
        self._freshness = freshness
        self._clock = clock
        self._logged = logged

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop`, then once more."""
        retry_s = _FIRST_RETRY_S
        while not stop.is_set():
            self._logged.wait(1.0)
            self._logged.clear()
            try:
                self.drain()
                retry_s = _FIRST_RETRY_S
            except Exception as error:  # noqa: BLE001 - the rows are on disk; trying again loses nothing
                self._freshness.errors["log"] = self._freshness.errors.get("log", 0) + 1
                _log.warning("publications wait for the store", error=str(error))
                stop.wait(retry_s)
                retry_s = min(retry_s * 2, _MOST_RETRY_S)
                self._logged.set()
        try:
            self.drain()
        except StoreError as error:
            _log.warning("publications stay in the log until the next start", error=str(error))

    def drain(self) -> None:
        """Store everything that is logged and not stored."""
        while rows := self._publication_log.unstored():
            self._freshness.unstored = self._publication_log.count_unstored()
            self._freshness.oldest_unstored_at_ms = rows[0][1].published_at_ms
            self._store.write_publications([row for _, row in rows], stored_at_ms=self._clock())
            self._publication_log.mark_stored(rows[-1][0], now_ms=self._clock())
        self._freshness.unstored = 0
        self._freshness.oldest_unstored_at_ms = None
