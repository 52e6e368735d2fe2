"""Messages for a journal, assessed by the small registry."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.registry import Registry
from ingest.incoming import Incoming
from ingest.journal.account import add_tallies, read_account
from ingest.journal.journal import Journal
from ingest.journal.records import Appended, Appending, Tally
from ingest.validation import Assessment, assess

TOPIC = "pools/north/gateways/gw-a/readings"
Post = Callable[..., "Letter"]


@dataclass(frozen=True)
class Letter:
    """A message and what it is."""

    message: Incoming
    assessment: Assessment

    @property
    def payload(self) -> bytes:
        return self.message.payload


@dataclass
class Book:
    """A journal that may be opened again."""

    folder: Path
    opened: list[Journal] = field(default_factory=list)

    @property
    def journal(self) -> Journal:
        return self.opened[-1]

    def open(self) -> Journal:
        self.opened.append(Journal(self.folder))
        return self.journal

    def append(self, letters: Sequence[Letter]) -> Appending:
        return self.journal.append_many([one.message for one in letters], [one.assessment for one in letters])

    def results(self, *letters: Letter) -> list[Appended]:
        return self.append(letters).results

    def tally(self, gateway_id: str = "gw-a") -> Tally:
        account = read_account(self.folder)
        return add_tallies(line.tally for line in account.lines if line.gateway_id == gateway_id)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    made = Book(tmp_path / "journal")
    made.open()
    yield made
    for one in made.opened:
        one.close()


@pytest.fixture
def post(registry: Registry, now_ms: int) -> Post:
    def build(
        payload: bytes,
        *,
        topic: str = TOPIC,
        retain: bool = False,
        at_ms: int = now_ms,
        by: Registry = registry,
    ) -> Letter:
        found = assess(topic=topic, payload=payload, registry=by, received_at_ms=at_ms)
        return Letter(Incoming(topic, payload, at_ms, retain=retain), found)

    return build


@pytest.fixture
def letter(
    post: Post, payload: Callable[..., bytes], reading: Callable[..., dict[str, Any]], now_ms: int
) -> Post:
    """A good message of some readings."""

    def build(
        seq: int, *, value: float = 0.5, boot_id: str = "b1", readings: int = 1, at_ms: int = now_ms
    ) -> Letter:
        return post(payload([reading(value=value)] * readings, seq=seq, boot_id=boot_id), at_ms=at_ms)

    return build
