"""Every adapter that the conformance suite runs against: a new one joins by one line."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.store.opening import open_store
from ingest.store.ports import Store

Opener = Callable[[], Store]


def _sqlite_url(folder: Path) -> str:
    return f"sqlite:{folder / 'store.sqlite'}"


_ADAPTERS: dict[str, Callable[[Path], str]] = {
    "sqlite": _sqlite_url,
}


@pytest.fixture(params=_ADAPTERS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return _ADAPTERS[request.param](tmp_path)


@pytest.fixture
def open_adapter(store_url: str) -> Iterator[Opener]:
    """Opens the same store again at each call, as another process would; all are closed in the end."""
    opened: list[Store] = []

    def open_once_more() -> Store:
        opened.append(open_store(store_url))
        return opened[-1]

    yield open_once_more
    for store in opened:
        store.close()


@pytest.fixture
def store(open_adapter: Opener) -> Store:
    return open_adapter()
