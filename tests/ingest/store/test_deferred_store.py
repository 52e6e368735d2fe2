"""A store that is opened by the first write that can, and what an ingest does meanwhile."""

import threading
from contextlib import closing
from pathlib import Path

import pytest

from gateway.contract.credentials import Credential
from ingest.errors import RegistryUnusableError
from ingest.running import opened_ingest
from ingest.store.batches import IngestBatch
from ingest.store.opening import DeferredStore, open_store
from ingest.store.ports import StoreError, StoreUnavailableError
from ingest.store.records import RegistryVersionRow

_VERSION = RegistryVersionRow("a" * 64, 1, "schema = 1")


def _url(folder: Path) -> str:
    return f"sqlite:{folder / 'store.sqlite'}"


def test_a_store_whose_folder_comes_later_is_opened_by_a_write(tmp_path: Path) -> None:
    folder = tmp_path / "mounted later"
    with closing(DeferredStore(_url(folder))) as store:
        assert "folder does not exist" in store.away
        with pytest.raises(StoreUnavailableError, match="folder does not exist"):
            store.write(IngestBatch(registry_versions=[_VERSION]), stored_at_ms=1)
        folder.mkdir()
        store.write(IngestBatch(registry_versions=[_VERSION]), stored_at_ms=1)
        assert store.away == ""
        assert store.registry_text() == "schema = 1"


def test_something_else_in_its_place_is_never_an_answer_about_rows(tmp_path: Path) -> None:
    """A rejection would put rows into quarantine that nobody looked at."""
    folder = tmp_path / "mounted later"
    with closing(DeferredStore(_url(folder))) as store:
        folder.mkdir()
        (folder / "store.sqlite").write_bytes(b"no database at all, but longer than a header of SQLite" * 40)
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="not a database"):
                store.write(IngestBatch(registry_versions=[_VERSION]), stored_at_ms=1)
        (folder / "store.sqlite").unlink()
        store.write(IngestBatch(registry_versions=[_VERSION]), stored_at_ms=1)
        assert store.registry_text() == "schema = 1"


@pytest.mark.parametrize("url", ["paper:store", "sqlite:"])
def test_an_address_that_can_never_be_used_ends_ingest_at_once(url: str) -> None:
    with pytest.raises(StoreError):
        DeferredStore(url)


def test_a_file_that_is_no_store_ends_ingest_at_once(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"no database at all, but longer than a header of SQLite" * 40)
    with pytest.raises(StoreError, match="not a database"):
        DeferredStore(_url(tmp_path))


class Place:
    """Files of an ingest whose registry cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.registry = folder / "pools.toml"
        self.registry.write_text("schema = 1\n[pools.north]\n", encoding="utf-8")
        self.journal = folder / "journal"
        self.store_folder = folder / "mounted later"
        self.stop = threading.Event()
        self.begun: list[bool] = []

    def run(self, *, is_retiring: bool = False) -> None:
        with opened_ingest(
            registry_path=self.registry,
            credential=Credential("poolwatch-ingest", "p", "127.0.0.1", 1),
            journal_folder=self.journal,
            store_url=_url(self.store_folder),
            clock=lambda: 1,
            stop=self.stop,
            is_retiring=is_retiring,
        ) as service:
            self.begun.append(service is not None)


def test_without_a_registry_the_store_is_waited_for_that_may_have_one(
    tmp_path: Path, registry_text: str
) -> None:
    place = Place(tmp_path)
    ingest = threading.Thread(target=place.run)
    ingest.start()
    try:
        ready = tmp_path / "ready"
        ready.mkdir()
        with closing(open_store(_url(ready))) as store:
            version = RegistryVersionRow("a" * 64, 1, registry_text)
            store.write(IngestBatch(registry_versions=[version]), stored_at_ms=1)
        assert place.begun == []
        ready.rename(place.store_folder)
        ingest.join(20)
        assert place.begun == [True]
    finally:
        place.stop.set()
        ingest.join(20)


def test_without_a_registry_and_with_a_store_that_has_none_ingest_ends(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.store_folder.mkdir()
    with pytest.raises(RegistryUnusableError):
        place.run()


def test_a_session_that_ends_waits_for_its_store(tmp_path: Path, registry_text: str) -> None:
    """Else `poolwatch ingest retire` would say that messages are stored which are not."""
    place = Place(tmp_path)
    place.registry.write_text(registry_text, encoding="utf-8")
    place.run()
    place.stop.set()
    place.run(is_retiring=True)
    assert place.begun == [True, False]
