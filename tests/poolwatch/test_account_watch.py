"""The account as metrics, taken beside a running ingest."""

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from typer.testing import CliRunner

from poolwatch.account_watch import EVERY_S, REST, UNREGISTERED, AccountWatch
from poolwatch.main import app
from tests.poolwatch.account_bench import T0, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    with closing(made.store):
        yield made


class Watched:
    """A watch over a bench, and what it tells."""

    def __init__(
        self, bench: Bench, *, is_whole: bool = True, gateways: tuple[str, ...] = ("gw-a",), at_most: int = 9
    ) -> None:
        self.now_ms = T0 + 10_000
        self.whole = is_whole
        self.watch = AccountWatch(
            journals=lambda: sorted(bench.root.glob("ingest*/journal")),
            is_whole=lambda: self.whole,
            is_only=False,
            statuses=dict,
            gateways=lambda: gateways,
            store_url=f"sqlite:{bench.root / 'store.sqlite'}",
            reconciled=bench.root / "reconciled.json",
            clock=lambda: self.now_ms,
            told_at_most=at_most,
        )

    def look(self) -> dict[str, float]:
        assert self.watch.look() >= EVERY_S
        return told(self.watch.metrics())


def told(metrics: list[Metric]) -> dict[str, float]:
    """Numbers by short name, and by name and gateway."""
    return {
        " ".join(
            [sample.name.removeprefix("poolwatch_ingest_account_"), *sample.labels.values()]
        ): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def test_before_the_first_look_nothing_is_told_of_any_gateway(bench: Bench) -> None:
    numbers = told(Watched(bench).watch.metrics())
    assert math.isnan(numbers["age_s"])
    assert not any(" " in name for name in numbers)


def test_readings_and_messages_add_up(bench: Bench) -> None:
    bench.take_in(range(10))
    bench.take_in([3, 4])
    bench.status("b1", 14, outbox=[["b1", 10, 14]], dropped=0)
    numbers = Watched(bench).look()
    of = {name.removesuffix(" gw-a"): number for name, number in numbers.items() if name.endswith(" gw-a")}
    assert of == {
        "received_messages": 10,
        "repeated_messages": 2,
        "received_readings": 10,
        "stored_readings": 10,
        "duplicate_readings": 0,
        "quarantined_readings": 0,
        "in_flight_readings": 0,
        "dropped_readings": 0,
        "sent_messages": 14,
        "kept_messages": 4,
        "missing_messages": 0,
        "hole_messages": 0,
    }
    assert numbers["is_whole"] == 1


def test_a_hole_is_told_when_two_looks_see_it(bench: Bench) -> None:
    bench.take_in([0, 1, 2, 5])
    watched = Watched(bench)
    assert watched.look()["hole_messages gw-a"] == 0
    assert watched.look()["hole_messages gw-a"] == 2
    bench.take_in([3])
    assert watched.look()["hole_messages gw-a"] == 1
    bench.take_in([4])
    assert watched.look()["hole_messages gw-a"] == 0


def test_what_the_gateway_dropped_is_missing_and_no_hole(bench: Bench) -> None:
    bench.take_in([0, 1, 4])
    bench.status("b1", 5, dropped=2)
    watched = Watched(bench)
    watched.look()
    numbers = watched.look()
    assert (numbers["missing_messages gw-a"], numbers["hole_messages gw-a"]) == (2, 0)
    assert numbers["dropped_readings gw-a"] == 2


def test_a_lost_tail_shows_through_the_status(bench: Bench) -> None:
    bench.take_in(range(3))
    bench.status("b1", 5)
    watched = Watched(bench)
    watched.look()
    assert watched.look()["hole_messages gw-a"] == 2


def test_several_ingests_are_added_up_where_all_journals_are_here(bench: Bench) -> None:
    bench.take_in([0, 2, 4], member="a")
    bench.take_in([1, 3], member="b")
    watched = Watched(bench)
    watched.look()
    numbers = watched.look()
    assert (numbers["received_messages gw-a"], numbers["hole_messages gw-a"]) == (5, 0)


def test_where_a_journal_is_elsewhere_nothing_is_said_of_what_is_missing(bench: Bench) -> None:
    bench.take_in([0, 2, 4], member="a")
    watched = Watched(bench, is_whole=False)
    watched.look()
    numbers = watched.look()
    assert (numbers["is_whole"], numbers["received_readings gw-a"]) == (0, 3)
    assert not {"missing_messages gw-a", "hole_messages gw-a", "sent_messages gw-a"} & numbers.keys()
    watched.whole = True
    assert watched.look()["hole_messages gw-a"] == 2


@pytest.mark.parametrize(("gateways", "at_most", "name"), [((), 9, UNREGISTERED), (("gw-a",), 0, REST)])
def test_gateways_beyond_the_limit_are_told_together(
    bench: Bench, gateways: tuple[str, ...], at_most: int, name: str
) -> None:
    bench.take_in(range(4))
    numbers = Watched(bench, gateways=gateways, at_most=at_most).look()
    assert (numbers[f"received_readings {name}"], numbers["untold_gateways"]) == (4, 1)
    assert "received_readings gw-a" not in numbers


def test_figures_grow_old_until_the_next_look(bench: Bench) -> None:
    bench.take_in([0])
    watched = Watched(bench)
    assert watched.look()["age_s"] == 0
    watched.now_ms += 90_000
    assert told(watched.watch.metrics())["age_s"] == 90
    assert watched.look()["age_s"] == 0


def test_a_damaged_journal_is_counted_and_the_last_figures_stand(bench: Bench) -> None:
    bench.take_in(range(2))
    watched = Watched(bench)
    watched.look()
    (bench.root / "ingest" / "journal" / "state.sqlite").unlink()
    watched.now_ms += 60_000
    numbers = watched.look()
    assert (numbers["failures"], numbers["age_s"], numbers["received_readings gw-a"]) == (1, 60, 2)


def test_the_last_reconcile_is_told(bench: Bench) -> None:
    bench.take_in(range(3))
    watched = Watched(bench)
    assert watched.look()["reconciled_at_ms"] == 0
    with bench.store._session.writing() as connection:
        connection.execute("DELETE FROM reading WHERE measured_at_ms = ?", (T0 + 1000,))
    assert CliRunner().invoke(app, ["reconcile", "--data-dir", str(bench.root)]).exit_code == 1
    numbers = watched.look()
    assert numbers["reconciled_at_ms"] > T0
    assert (numbers["reconciled_readings"], numbers["reconciled_found"]) == (3, 2)
    assert numbers["reconciled_holes"] == 1
