"""The one place where a store's adapter is chosen."""

from collections.abc import Callable
from pathlib import Path

from ingest.store.ports import Store, StoreError
from ingest.store.sqlite import SqliteStore


def _open_sqlite(place: str) -> Store:
    if not place or place == ":memory:":
        raise StoreError("a store in SQLite is a file that several processes share: give sqlite:PATH")
    return SqliteStore(Path(place))


_ADAPTERS: dict[str, Callable[[str], Store]] = {"sqlite": _open_sqlite}


def open_store(url: str) -> Store:
    """Open the store that `url` names: ``sqlite:PATH``, a file that is made if absent.

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
