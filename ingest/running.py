"""An ingest put together: store, journal, registry and connection, opened in this order and closed in the opposite one."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import structlog

from gateway.contract.credentials import Credential
from gateway.contract.times import Clock
from ingest.counters import IngestCounters
from ingest.journal.journal import Journal
from ingest.registry_source import RegistrySource
from ingest.service import IngestService
from ingest.store.opening import await_store
from ingest.store.ports import Store, StoreUnavailableError
from ingest.subscriber import MqttSubscriber
from ingest.subscriber_share import ShareMember

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
    """Give an ingest that is ready to run; None if `stop` came before the store could be opened.

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
    store = await_store(store_url, stop)
    if store is None:
        yield None
        return
    with closing(store):
        known = _registry_text(store)
        registry = RegistrySource(registry_path, fallback=known)
        with closing(Journal(journal_folder)) as journal:
            yield IngestService(
                subscriber=MqttSubscriber(credential, clock=clock, member=member, is_retiring=is_retiring),
                journal=journal,
                store=store,
                registry=registry,
                clock=clock,
                counters=counters,
                store_has_registry=known,
                keep_days=keep_days,
            )


def _registry_text(store: Store) -> str | None:
    try:
        return store.registry_text()
    except StoreUnavailableError as error:
        _log.warning("the store does not tell the last registry now", error=str(error))
        return None
