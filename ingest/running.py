"""An ingest put together: store, journal, registry and connection, opened in this order and closed in the opposite one."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import structlog

from gateway.contract.credentials import Credential
from gateway.contract.times import Clock
from ingest.counters import IngestCounters
from ingest.errors import RegistryUnusableError
from ingest.journal.journal import Journal
from ingest.registry_source import RegistrySource
from ingest.service import IngestService
from ingest.store.opening import DeferredStore
from ingest.store.ports import StoreUnavailableError
from ingest.subscriber import MqttSubscriber
from ingest.subscriber_share import ShareMember

#: Between two attempts to begin while something that ingest cannot do without is away. [s]
_RETRY_S = 2.0

_log = structlog.get_logger()


@contextmanager
def opened_ingest(
    *,
    registry_path: Path,
    credential: Credential,
    journal_folder: Path,
    store_url: str,
    clock: Clock,
    stop: threading.Event,
    member: ShareMember | None = None,
    keep_days: int | None = None,
    counters: IngestCounters | None = None,
    is_retiring: bool = False,
) -> Iterator[IngestService | None]:
    """Give an ingest that is ready to run; None if `stop` came before that.

    The store may be away: messages are taken into the journal, and the store gets them when it can be opened. It is
    waited for only where nothing can be done without it: the registry's file cannot be used and the store has the one
    before, or the messages of a session that ends are to be stored.

    Parameters
    ----------
    registry_path : Path
        `pools.toml`; followed while ingest runs.
    journal_folder : Path
        Made if absent.
    member : ShareMember, optional
        One of several ingests; unset: the only one.
    is_retiring : bool
        Take what the broker holds for this ingest's session, and nothing new; see `IngestService.drain`.
    keep_days : int, optional
        Days of the journal that stay once the store has them; unset: all. [d]

    Raises
    ------
    RegistryUnusableError
        If there is no registry in force.
    JournalError
        If the journal is damaged, of a newer version, or another process writes it.
    StoreError
        If the store's address cannot be used.
    """
    with closing(DeferredStore(store_url)) as store:
        begun = _begin(registry_path, store, stop, needs_store=is_retiring)
        if begun is None:
            yield None
            return
        registry, known = begun
        with closing(Journal(journal_folder)) as journal:
            yield IngestService(
                subscriber=MqttSubscriber(credential, clock=clock, member=member, is_retiring=is_retiring),
                journal=journal,
                store=store,
                registry=registry,
                clock=clock,
                counters=counters,
                store_has_registry=known,
                store_away=lambda: store.away,
                keep_days=keep_days,
            )


def _begin(
    registry_path: Path, store: DeferredStore, stop: threading.Event, *, needs_store: bool
) -> tuple[RegistrySource, str | None] | None:
    """Registry in force, and the newest one that the store is known to have; None if `stop` came first."""
    while not stop.is_set():
        known, is_away = _registry_text(store)
        if not (is_away and needs_store):
            try:
                return RegistrySource(registry_path, fallback=known), known
            except RegistryUnusableError:
                if not is_away:
                    raise
                _log.error(
                    "the registry's file cannot be used, and the store is away that has the one before"
                )
        stop.wait(_RETRY_S)
    return None


def _registry_text(store: DeferredStore) -> tuple[str | None, bool]:
    """Newest registry that the store has, and whether it is away and cannot tell."""
    try:
        return store.registry_text(), False
    except StoreUnavailableError as error:
        _log.warning("the store does not tell the last registry now", error=str(error))
        return None, True
