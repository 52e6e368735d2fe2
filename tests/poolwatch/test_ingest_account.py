"""Which journals an ingest's account adds up, and whether it may say what is missing."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.contract.credentials import Credential, Credentials, render_credentials
from ingest.service import IngestService
from poolwatch.folder import DataFolder
from poolwatch.ingest_command import _account_watch
from tests.poolwatch.account_bench import Bench


class Running:
    """As much of an ingest as its account asks for."""

    statuses: dict[str, Any] | None = None

    def gateways(self) -> list[str]:
        return ["gw-a"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    with closing(made.store):
        yield made


def told(bench: Bench, member: str | None, *services: str) -> dict[str, float]:
    """The account of an ingest after two looks, where these services have credentials."""
    folder = DataFolder(bench.root)
    entries = {name: Credential(name, "p", "127.0.0.1", 1) for name in services}
    folder.credentials.write_text(render_credentials(Credentials({}, entries)), encoding="utf-8")
    running = Running()
    watch = _account_watch(folder, None, member, cast("IngestService", running))
    assert running.statuses == {}
    for _ in range(2):
        watch.look()
    return {
        sample.name.removeprefix("poolwatch_ingest_account_"): sample.value
        for metric in watch.metrics()
        for sample in metric.samples
    }


def test_the_only_ingest_says_what_is_missing(bench: Bench) -> None:
    bench.take_in([0, 1, 4])
    numbers = told(bench, None, "ingest", "other")
    assert (numbers["is_whole"], numbers["received_readings"], numbers["hole_messages"]) == (1, 3, 2)


def test_a_member_says_it_where_all_journals_are_here(bench: Bench) -> None:
    bench.take_in([0, 1, 4], member="a")
    bench.take_in([2], member="b")
    numbers = told(bench, "a", "ingest", "ingest-a", "ingest-b")
    assert (numbers["is_whole"], numbers["received_readings"], numbers["hole_messages"]) == (1, 4, 1)


def test_a_member_whose_fellow_is_elsewhere_tells_its_own_readings_alone(bench: Bench) -> None:
    bench.take_in([0, 1, 4], member="a")
    bench.take_in([2], member="c")
    numbers = told(bench, "a", "ingest-a", "ingest-b", "ingest-c")
    assert (numbers["is_whole"], numbers["received_readings"]) == (0, 3)
    assert "hole_messages" not in numbers
