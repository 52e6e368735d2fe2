"""What operators watch of a gateway, and what keeps readings from leaving."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.receipts import Receipt
from gateway.errors import OutboxError
from gateway.figures import GatewayFigures, not_sending, outbox_figures, summed
from gateway.outbox import ROWS_KEPT, Draft, Outbox
from gateway.outbox_packing import GROUP_SPAN

T0 = 1_782_892_800_000
TOPIC = "pools/p/gateways/g/readings"
GOOD = GatewayFigures(connected=1, oldest_kept_at_ms=0, figures_at_ms=T0)


def draft(readings: int = 3) -> Draft:
    return Draft(TOPIC, lambda seq: b"message %d" % seq, readings)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.begin_boot("b", T0)
    yield outbox
    outbox.close()


def test_an_outbox_tells_what_it_keeps(outbox: Outbox) -> None:
    outbox.append([draft()] * 4, T0 + 1000)
    outbox.append([draft()] * 6, T0 + 2000)
    outbox.apply_receipt(Receipt("b", [(0, 3)]))
    told = outbox_figures(outbox, bytes_per_hour=0.0, works=True)
    assert (told["outbox_messages"], told["outbox_readings"], told["dead_messages"]) == (6, 18, 0)
    assert (told["appended_messages"], told["appended_readings"]) == (10, 30)
    assert told["oldest_kept_at_ms"] == T0 + 2000
    assert math.isnan(told["hours_left"])
    assert told["outbox_bytes"] > 6 * len(b"message 0")
    assert told["outbox_fill_ratio"] == pytest.approx(told["outbox_bytes"] / (256 * 1024 * 1024))
    outbox.apply_receipt(Receipt("b", [(4, 9)]))
    assert outbox_figures(outbox, bytes_per_hour=0.0, works=True)["oldest_kept_at_ms"] == 0


def test_the_oldest_may_be_packed(outbox: Outbox) -> None:
    outbox.append([draft()], T0)
    for part in range(1, 4):
        outbox.append([draft(1)] * GROUP_SPAN, T0 + part)
    outbox.append([draft(1)] * ROWS_KEPT, T0 + 9)
    assert outbox.oldest_ms() == T0
    outbox.apply_receipt(Receipt("b", [(0, 3 * GROUP_SPAN)]))
    assert outbox.oldest_ms() == T0 + 9


def test_the_room_left_follows_the_rate(outbox: Outbox) -> None:
    outbox.append([draft()] * 100, T0)
    slow, fast = (
        outbox_figures(outbox, bytes_per_hour=rate, works=True)["hours_left"] for rate in (1e5, 2e5)
    )
    assert slow == pytest.approx(2 * fast, rel=1e-3)


def test_a_broken_outbox_is_an_error_to_the_caller(outbox: Outbox) -> None:
    outbox._connection.execute("DROP TABLE dropped")
    with pytest.raises(OutboxError, match="no such table"):
        outbox_figures(outbox, bytes_per_hour=0.0, works=True)


def test_nothing_is_wrong_with_a_gateway_that_sends() -> None:
    fresh = replace(GOOD, oldest_kept_at_ms=T0 - 600_000, hours_left=24.0)
    assert not_sending({"a": GOOD, "b": fresh}, T0) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"connected": 0}, "without the broker, readings are kept: b"),
        ({"outbox_works": 0}, "the outbox takes nothing, see the disk: b"),
        (
            {"oldest_kept_at_ms": T0 - 600_001},
            "no receipt since 2026-07-01T07:49:59.999Z, see that ingest runs: b",
        ),
        ({"hours_left": 23.9}, "the outbox has room for less than 24 h: b"),
    ],
)
def test_each_trouble_is_told_with_the_gateway(change: dict[str, Any], reason: str) -> None:
    assert not_sending({"a": GOOD, "b": replace(GOOD, **change)}, T0) == [reason]


def test_of_many_gateways_some_are_named() -> None:
    (reason,) = not_sending({f"g{number}": GatewayFigures() for number in range(8)}, T0)
    assert reason.endswith(": g0, g1, g2, g3, g4 and 3 more")


def test_a_sum_tells_the_worst_room_and_the_oldest_message() -> None:
    one = replace(GOOD, outbox_messages=3, hours_left=40.0, oldest_kept_at_ms=T0 - 5, disk_free_bytes=9)
    other = replace(
        GOOD, outbox_messages=4, oldest_kept_at_ms=T0 - 9, disk_free_bytes=7, outbox_fill_ratio=0.5
    )
    total = summed([one, other, GOOD])
    assert (total.connected, total.outbox_messages) == (3, 7)
    assert (total.hours_left, total.oldest_kept_at_ms, total.outbox_fill_ratio) == (40.0, T0 - 9, 0.5)
    assert total.disk_free_bytes == 0
