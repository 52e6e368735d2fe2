"""The one place where a store's adapter is chosen."""

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from ingest.store.batches import IngestBatch, WriteOutcome
from ingest.store.influx_address import read_address
from ingest.store.ports import Store, StoreError, StoreUnavailableError
from ingest.store.sqlite import SqliteStore

#: Between two attempts to open a store that is away. [s]
_OPEN_RETRY_S = 1.0

_log = structlog.get_logger()


def _open_sqlite(place: str) -> Store:
    if not place or place == ":memory:":
        raise StoreError("a store in SQLite is a file that several processes share: give sqlite:PATH")
    return SqliteStore(Path(place))


def _open_influx(place: str) -> Store:
    try:
        from ingest.store.influx import InfluxStore
    except ModuleNotFoundError as error:
        raise StoreError(
            f"a store in InfluxDB needs the extra `influx`: pip install 'poolwatch[influx]' ({error.name} is missing)"
        ) from error
    if not place:
        raise StoreError(
            "a store in InfluxDB is named by a file: give influx:PATH, as `poolwatch influx init` wrote it"
        )
    return InfluxStore(read_address(Path(place)))


_ADAPTERS: dict[str, Callable[[str], Store]] = {"sqlite": _open_sqlite, "influx": _open_influx}


def open_store(url: str) -> Store:
    """Open the store that `url` names.

    ``sqlite:PATH`` is a file that is made if absent; ``influx:PATH`` a server that the file names.

    Raises
    ------
    StoreError
        If no adapter knows the scheme, or the adapter cannot open it.
    """
    scheme, colon, place = url.partition(":")
    adapter = _ADAPTERS.get(scheme) if colon else None
    if adapter is None:
        known = ", ".join(f"{name}:…" for name in _ADAPTERS)
        raise StoreError(
            f"{url!r} names no store that is known here; known: {known}, as in sqlite:store.sqlite"
        )
    return adapter(place)


def await_store(url: str, stop: threading.Event) -> Store | None:
    """Open a store, however long it is away; None if `stop` came first.

    Raises
    ------
    StoreError
        If the address can never be used.
    """
    told = False
    while not stop.is_set():
        try:
            return open_store(url)
        except StoreUnavailableError as error:
            if not told:
                _log.error("the store cannot be opened yet; trying on", error=str(error))
                told = True
            stop.wait(_OPEN_RETRY_S)
    return None


class DeferredStore:
    """Ingest's side of a store that may be away when ingest starts: opened by the first use that can.

    A port `ingest.store.ports.ReadingWriter`, used by one thread at a time.

    Parameters
    ----------
    url : str
        As for `open_store`.

    Raises
    ------
    StoreError
        If the address can never be used, or what is there is no store of this poolwatch.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: Store | None = None
        #: Why it could not be opened at the last attempt; empty once it is open.
        self.away = ""
        try:
            self._opened()
        except StoreUnavailableError as error:
            _log.error("the store cannot be opened yet; messages are taken all the same", error=str(error))

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        """Store a batch and its arrivals; see `ReadingWriter.write`."""
        try:
            store = self._opened()
        except StoreUnavailableError:
            raise
        except StoreError as error:
            # Something else lies there now. It says nothing about these rows, and whoever put it there can mend it.
            raise StoreUnavailableError(str(error)) from error
        return store.write(batch, stored_at_ms=stored_at_ms)

    def registry_text(self) -> str | None:
        """Return the newest accepted registry; None before ingest accepted one."""
        return self._opened().registry_text()

    def close(self) -> None:
        """Close the store if it was opened."""
        if self._store is not None:
            self._store.close()

    def _opened(self) -> Store:
        if self._store is None:
            try:
                self._store = open_store(self._url)
            except StoreError as error:
                self.away = str(error)
                raise
            if self.away:
                _log.info("the store is open")
                self.away = ""
        return self._store
