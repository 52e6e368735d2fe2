"""The account as an operator reads it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gateway.contract.receipts import Receipt
from gateway.outbox import Draft, Outbox
from poolwatch.main import app
from poolwatch.reconcile import print_account
from tests.poolwatch.account_bench import T0, TOPIC, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    with closing(made.store):
        yield made


def test_an_account_is_closed_when_everything_is_somewhere(bench: Bench) -> None:
    bench.take_in(range(10))
    bench.take_in([3, 4])
    bench.status("b1", 14, outbox=[["b1", 10, 14]])
    account = bench.account()
    (line,) = account.lines
    (boot,) = line.boots
    assert (boot.sent, boot.received, boot.kept, line.missing) == (14, 10, 4, 0)
    assert (line.tally.readings, line.stored, line.tally.duplicate_messages) == (10, 10, 2)
    assert (account.audit.checked, account.audit.found, account.holes) == (10, 10, ())


def test_a_lost_tail_and_a_hole_are_named_by_their_seqs(bench: Bench) -> None:
    bench.take_in([0, 1, 2, 5, 6])
    bench.status("b1", 9)
    (hole,) = bench.account().holes
    assert hole == "gw-a: 4 messages were sent and never came: boot b1 seq 3-4, boot b1 seq 7-8"


def test_what_the_gateway_says_it_dropped_is_no_hole(bench: Bench) -> None:
    bench.take_in([0, 1, 4])
    bench.status("b1", 5, dropped=2)
    account = bench.account()
    assert (account.lines[0].missing, account.lines[0].dropped_readings, account.holes) == (2, 2, ())


def test_ranges_of_several_ingests_are_united(bench: Bench) -> None:
    bench.take_in([0, 2, 4], member="a")
    bench.take_in([1, 3], member="b")
    account = bench.account()
    assert account.holes == ()
    assert (account.lines[0].boots[0].received, account.lines[0].stored) == (5, 5)


def test_a_reading_that_the_store_lost_is_a_hole_and_the_command_exits_with_1(bench: Bench) -> None:
    bench.take_in(range(3))
    command = ["reconcile", "--data-dir", str(bench.root)]
    assert CliRunner().invoke(app, command).exit_code == 0
    with bench.store._session.writing() as connection:
        connection.execute("DELETE FROM reading WHERE measured_at_ms = ?", (T0 + 1000,))
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "1 readings left the journal and are not in the store" in result.output
    assert "north/fc-1/free_chlorine_mg_l at 2026-07-01T08:00:01.000Z (gw-a b1 1)" in result.output
    other_day = CliRunner().invoke(app, [*command, "--day", "2026-07-02"])
    assert other_day.exit_code == 0


@pytest.mark.parametrize("day", ["yesterday", "2026-7-1"])
def test_a_day_of_another_form_is_refused(bench: Bench, day: str) -> None:
    bench.take_in([0])
    result = CliRunner().invoke(app, ["reconcile", "--data-dir", str(bench.root), "--day", day])
    assert result.exit_code == 2
    assert "2026-11-24" in result.output


def test_the_table_adds_up(bench: Bench) -> None:
    bench.take_in(range(10))
    bench.status("b1", 14, outbox=[["b1", 10, 14]])
    console = Console(width=200, record=True)
    print_account(console, bench.account())
    text = console.export_text()
    rows = [line.replace("│", " ").split()[1:] for line in text.splitlines() if "gw-a" in line]
    assert rows == [["14", "10", "4", "0", "0"], ["10", "10", "0", "0", "0", "0"]]
    assert "cloned" not in text
    assert "the account is closed" in text


def test_readings_of_a_clone_are_shown_beside_an_account_that_closes(bench: Bench) -> None:
    bench.take_in(range(10))
    bench.take_in([3, 4], value=0.9)
    bench.status("b1", 10)
    account = bench.account()
    (line,) = account.lines
    assert (line.tally.readings, line.stored, line.cloned_readings) == (10, 10, 2)
    assert account.holes == ()
    (of_day,) = bench.account(day="2026-07-01").lines
    assert of_day.cloned_readings == 2
    assert bench.account(day="2026-06-30").lines == ()
    console = Console(width=80, record=True)
    print_account(console, account)
    text = console.export_text()
    rows = [line.split() for line in text.splitlines() if "gw-a" in line]
    assert rows[-1] == ["gw-a", "10", "10", "0", "0", "0", "2", "0"]
    assert "cloned" in text
    assert "the account is closed" in text


def test_an_outbox_on_this_machine_knows_more_than_the_last_status(bench: Bench) -> None:
    bench.take_in(range(10))
    bench.status("b1", 10)
    with closing(Outbox(bench.root / "gateways" / "gw-a" / "outbox.sqlite")) as outbox:
        outbox.begin_boot("b1", T0)
        outbox.append([Draft(TOPIC, lambda seq: b"%d" % seq, 1) for _ in range(12)], T0)
        outbox.apply_receipt(Receipt("b1", [(0, 9)]))
        result = CliRunner().invoke(app, ["reconcile", "--data-dir", str(bench.root)])
    assert result.exit_code == 0
    row = next(line.replace("│", " ").split() for line in result.output.splitlines() if "gw-a" in line)
    assert row == ["gw-a", "12", "10", "2", "0", "0"]
